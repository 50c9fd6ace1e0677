package network

import "time"

// The bounds of what one guest can make this process hold. In the worst case all connections are stalled with
// full buffers in both directions: maxConnections * 2 * smallBuffer + largeConnections * 2 * largeBuffer,
// that is 192 MiB; in ordinary use it is a few kilobytes a connection.
const (
	// TCP, both ways, and the attempts in progress; beyond it the guest gets resets
	maxConnections   = 1024
	smallBuffer      = 64 << 10 // a connection's buffer for each direction
	largeConnections = 32       // so many may grow their buffers,
	largeBuffer      = 1 << 20  // up to this
	maxInside        = 64       // connections to the guest's loopback, which go over the link to its agent
	maxFlows         = 512      // UDP and echo; beyond it the longest idle one is forgotten
	maxLookups       = 64       // name questions in progress; beyond it they fail
	maxAnswers       = 4096     // pairs of address and name that are remembered
	outQueue         = 1 << 20  // bytes waiting for the guest before senders have to wait
	maxFrame         = 14 + 65520 + 4
	growAfter        = 256 << 10 // once they have moved so many bytes
	copyBuffer       = 32 << 10
)

// How long something may last.
const (
	dialTimeout   = 30 * time.Second
	insideTimeout = 15 * time.Second // the same by way of the guest's loopback
	guestTimeout  = 10 * time.Second // for the guest to take a published connection
	lookupTimeout = 8 * time.Second
	answerTTL     = 60 * time.Second // what the guest is told
	// How long a connection to the address may begin: programs keep what they looked up
	answerMemory  = 15 * time.Minute
	idleTimeout   = 2 * time.Hour    // a connection on which nothing moves
	halfTimeout   = 10 * time.Minute // the same when one side has finished
	lingerTimeout = 2 * time.Minute  // for the guest to take the last bytes and the end
	flowTimeout   = 90 * time.Second
	sweepInterval = 15 * time.Second
)

// Decisions are logged in bursts of so many, then at this rate: a guest must not fill the host's disk.
const (
	journalBurst = 1000
	journalRate  = 50 // a second
)
