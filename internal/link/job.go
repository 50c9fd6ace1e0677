package link

// The operations on background commands, which a supervisor answers: commands that go on when who started
// them goes, whose output is kept on disk. The record of one is its VM's to keep, and crosses the link as it
// is.
const (
	OpJobStart  Op = "job_start"  // JobStart -> the record; of a service, once it is ready or has failed
	OpJobList   Op = "job_list"   // Empty -> records
	OpJobRead   Op = "job_read"   // JobRead -> JobOutput
	OpJobAttach Op = "job_attach" // JobAttach, stdin -> stdout and stderr data, the record at its end
	OpJobWrite  Op = "job_write"  // JobWrite -> Empty
	OpJobSignal Op = "job_signal" // Signal -> Empty
	OpJobResize Op = "job_resize" // Resize -> Empty
	OpJobWait   Op = "job_wait"   // JobWait -> the record
	OpJobStop   Op = "job_stop"   // JobStop -> the record
)

// What kinds of background command there are.
const (
	JobCommand = "command" // runs to its end
	JobShell   = "shell"   // waits for what is typed
	JobService = "service" // is to run on
)

// What a background command may be doing.
const (
	JobRunning     = "running"
	JobStarting    = "starting" // a service that is not ready yet
	JobReady       = "ready"    // a service that is
	JobBackoff     = "backoff"  // a service that waits to be started again
	JobExited      = "exited"
	JobFailed      = "failed"      // a service that was not ready in time, or failed too often
	JobStopped     = "stopped"     // it was asked to end
	JobInterrupted = "interrupted" // its guest has ended
)

// JobStart asks for a background command.
type JobStart struct {
	Exec    Exec     `json:"exec"`           // embedded, its own JSON would stand for all
	Name    string   `json:"name,omitempty"` // its id; empty is one that the supervisor makes up
	Kind    string   `json:"kind"`
	Service *Service `json:"service,omitempty"` // of a service
}

// Service says how a service is looked after.
type Service struct {
	Ready       Ready `json:"ready"`
	ReadyMS     int64 `json:"ready_ms"`     // how long it may take to be ready
	Restart     bool  `json:"restart"`      // it is started again if it fails
	MaxRestarts int   `json:"max_restarts"` // in a row
	Resume      bool  `json:"resume"`       // it is started again when its VM is
}

// Ready says what tells that a service is ready: at most one of these. If none is set it is ready once it
// runs.
type Ready struct {
	HTTP    string `json:"http,omitempty"` // PORT or PORT/PATH that answers with a status below 400
	TCP     int    `json:"tcp,omitempty"`  // port that somebody listens on
	File    string `json:"file,omitempty"` // that is there
	Log     string `json:"log,omitempty"`  // regular expression that a line of its output matches
	Command string `json:"command,omitempty"`
}

// JobRead asks for output from a byte on. It waits for the first of it, for WaitMS at most, and then until
// nothing more comes for IdleMS, within the same time.
type JobRead struct {
	ID     string `json:"id"`
	From   int64  `json:"from"`
	Limit  int    `json:"limit"`
	WaitMS int64  `json:"wait_ms"`
	IdleMS int64  `json:"idle_ms"`
}

// JobOutput answers JobRead.
type JobOutput struct {
	Pieces []JobPiece `json:"pieces"`
	From   int64      `json:"from"` // number of the first byte given: greater if what was asked for is gone
	Next   int64      `json:"next"` // where to go on
	Job    any        `json:"job"`  // the record, to be decoded into what stands here
}

// JobPiece is a part of an output.
type JobPiece struct {
	Stream uint8  `json:"stream"` // KindStdout or KindStderr
	Data   []byte `json:"data"`
}

// JobAttach asks for a command's output as it comes, from a byte on, and passes input on. Several may be
// attached. The end of one ends nothing.
type JobAttach struct {
	ID    string `json:"id"`
	From  int64  `json:"from"`  // -1 is what comes from now on
	Stdin bool   `json:"stdin"` // stdin and resize messages follow
	End   bool   `json:"end"`   // the end of stdin is the end of the command's input
}

// JobWrite is input for a command, which has WaitMS to take it; 0 is no limit.
type JobWrite struct {
	ID     string `json:"id"`
	Data   []byte `json:"data"`
	End    bool   `json:"end"` // no more follows
	WaitMS int64  `json:"wait_ms,omitempty"`
}

// JobWait waits until a command has ended, for WaitMS at most; 0 is for ever.
type JobWait struct {
	ID     string `json:"id"`
	WaitMS int64  `json:"wait_ms"`
}

// JobStop asks a command to end, and kills it if it has not after GraceMS.
type JobStop struct {
	ID      string `json:"id"`
	GraceMS int64  `json:"grace_ms"`
}

// JobLost is a note to who is attached: so many bytes that should stand here were dropped.
type JobLost struct {
	Bytes int64 `json:"bytes"`
}
