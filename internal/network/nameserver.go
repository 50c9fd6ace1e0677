package network

import (
	"context"
	"encoding/binary"
	"io"
	"net"
	"time"

	"gvisor.dev/gvisor/pkg/tcpip/stack"
)

// Bounds of a conversation with the name server by TCP.
const (
	nameConnIdle      = 10 * time.Second
	nameConnQuestions = 100
)

// serveNamesUDP answers one query in a goroutine of its own. While too many are in progress it is dropped, as
// a busy name server would do: the guest asks again.
func (n *Network) serveNamesUDP(life context.Context, id stack.TransportEndpointID, message []byte) {
	select {
	case n.lookups <- struct{}{}:
	default:
		return
	}
	n.spawn(func() {
		defer func() { <-n.lookups }()
		if answer := n.answerQuestion(life, message, true); answer != nil {
			n.sendUDP(id, answer)
		}
	})
}

// serveNamesTCP answers the queries of one connection in turn, each behind its length in two bytes.
func (n *Network) serveNamesTCP(life context.Context, conn net.Conn) {
	for range nameConnQuestions {
		conn.SetDeadline(time.Now().Add(nameConnIdle))
		var length [2]byte
		if _, err := io.ReadFull(conn, length[:]); err != nil {
			return
		}
		size := int(binary.BigEndian.Uint16(length[:]))
		if size > maxQuestion {
			return
		}
		message := make([]byte, size)
		if _, err := io.ReadFull(conn, message); err != nil {
			return
		}
		select {
		case n.lookups <- struct{}{}:
		case <-life.Done():
			return
		}
		answer := n.answerQuestion(life, message, false)
		<-n.lookups
		if answer == nil {
			return
		}
		conn.SetDeadline(time.Now().Add(nameConnIdle))
		if _, err := conn.Write(append(binary.BigEndian.AppendUint16(nil, uint16(len(answer))),
			answer...)); err != nil {
			return
		}
	}
}
