package agent

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"strings"
	"time"

	"github.com/pyro-mcp/pyro/internal/link"
	"github.com/pyro-mcp/pyro/internal/wire"
)

// warm makes everything ahead, before a guest is frozen, that does not depend on who it will be, and rehearses what
// it will be asked first. A clone's emulator has to translate the code again, but not the way to it: files that are
// read, tables that are built, blocks that are found. Nothing here knows a command or an identity.
func (a *Agent) warm() error {
	id, err := a.open()
	if err != nil {
		return err
	}
	if _, err := id.set(link.Configure{Hostname: "localhost", MachineID: strings.Repeat("0", 32)}); err != nil {
		return err
	}
	a.workDir = defaultWorkDir
	if err := a.makeWorkDir(account{}); err != nil {
		return err
	}
	if err := a.rehearse(); err != nil {
		return fmt.Errorf("the rehearsal failed: %w", err)
	}
	return a.sync()
}

// rehearsalLimit bounds each command of the rehearsal. An environment may lack them all.
const rehearsalLimit = 5 * time.Second

// rehearse talks to the agent as a supervisor does.
func (a *Agent) rehearse() error {
	host, port := net.Pipe()
	served := make(chan error, 1)
	go func() { served <- a.serve(port) }()
	conn, err := wire.Dial(host, wire.Options{})
	if err != nil {
		return err
	}
	ctx, client := context.Background(), link.NewClient(conn)
	a.configured = &account{home: "/root"}
	for _, e := range []link.Exec{{Command: "true"}, {Argv: []string{"/bin/true"}}, {Command: "true"}} {
		e.TimeoutMS = rehearsalLimit.Milliseconds()
		if _, err = client.Exec(ctx, e, link.Streams{}); err != nil {
			break
		}
	}
	a.configured = nil
	var refused *link.Error
	if err == nil {
		// Without entropy this goes no further than to be understood.
		if err = client.Call(ctx, link.OpConfigure, link.Configure{}, nil); errors.As(err, &refused) && refused.Code == link.CodeInvalid {
			err = nil
		}
	}
	if _, jsonErr := json.Marshal(link.Configured{}); jsonErr != nil {
		return jsonErr
	}
	err = errors.Join(err, conn.Close(), port.Close(), host.Close())
	<-served
	return err
}
