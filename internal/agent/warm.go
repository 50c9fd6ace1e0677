package agent

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"strconv"
	"strings"
	"time"

	"github.com/pyro-mcp/pyro/internal/link"
	"github.com/pyro-mcp/pyro/internal/wire"
)

// warm makes everything ahead, before a guest is frozen, that does not depend on who it will be, and
// rehearses what it will be asked first. A clone's emulator has to translate the code again, but not the way
// to it: files that are read, tables that are built, blocks that are found. Nothing here knows a command or
// an identity.
func (a *Agent) warm(g *realMachine) error {
	id, err := g.open()
	if err != nil {
		return err
	}
	if _, err := id.set(link.Identify{Hostname: "localhost", MachineID: strings.Repeat("0", 32)},
		false); err != nil {
		return err
	}
	if _, err := a.account(""); err != nil {
		return err
	}
	if err := a.makeWorkDir(defaultWorkDir, account{}); err != nil {
		return err
	}
	if err := a.rehearse(); err != nil {
		return fmt.Errorf("the rehearsal failed: %w", err)
	}
	return a.sync()
}

// rehearsalLimit bounds each command of the rehearsal. An environment may lack them all.
const rehearsalLimit = 5 * time.Second

// rehearsed are the commands of the rehearsal: by which way one may come, and the programs that most commands
// begin with, which are then in the guest's memory, and known to an emulator.
func rehearsed() []link.Exec {
	return []link.Exec{
		{Command: "true"},
		{Argv: []string{"/bin/true"}},
		{Command: "ls -l / | wc -l; git --version"},
		{Argv: []string{"python3", "-B", "-c", "import json, os, subprocess, sys"}},
		{Command: "true"},
	}
}

// rehearse talks to the agent as a supervisor does.
func (a *Agent) rehearse() error {
	host, port := net.Pipe()
	served := make(chan error, 1)
	go func() { served <- a.Serve(port) }()
	conn, err := wire.Dial(host, wire.Options{})
	if err != nil {
		return err
	}
	ctx, client := context.Background(), link.NewClient(conn)
	a.identified, a.who, a.workDir = true, &account{home: "/root"}, defaultWorkDir
	for i, e := range rehearsed() {
		e.ID, e.TimeoutMS = "rehearsal-"+strconv.Itoa(i), rehearsalLimit.Milliseconds()
		if _, err = client.Exec(ctx, e, link.Streams{}); err != nil {
			break
		}
	}
	a.identified, a.who, a.commands = false, nil, link.Commands{}
	// Without entropy, and with a directory that is none, these go no further than to be understood.
	if err == nil {
		err = errors.Join(
			refused(client.Call(ctx, link.OpIdentify, link.Identify{}, nil)),
			refused(client.Call(ctx, link.OpSetUp, link.SetUp{WorkDir: "nowhere"}, nil)))
	}
	for _, answer := range []any{link.Identified{}, link.Empty{}} {
		if _, jsonErr := json.Marshal(answer); jsonErr != nil {
			return jsonErr
		}
	}
	err = errors.Join(err, conn.Close(), port.Close(), host.Close())
	<-served
	return err
}

// refused wants an operation to have been refused as senseless.
func refused(err error) error {
	var far *link.Error
	if errors.As(err, &far) && far.Code == link.CodeInvalid {
		return nil
	}
	return fmt.Errorf("what makes no sense was not refused: %w", err)
}
