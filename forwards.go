package pyro

import (
	"context"
	"encoding/json"

	"github.com/pyro-mcp/pyro/internal/link"
	"github.com/pyro-mcp/pyro/internal/record"
)

// ForwardPortRequest asks for a port of the host that leads to a server in a task, on whichever of the
// guest's addresses it listens, 127.0.0.1 and ::1 too. It needs no network in the task.
type ForwardPortRequest struct {
	TaskID string `json:"task_id" jsonschema:"the task's id or name"`
	// HostIP is the host's address to listen on; empty is 127.0.0.1.
	HostIP string `json:"host_ip,omitempty" jsonschema:"the host's address to listen on; 127.0.0.1 if left out"`
	// HostPort is the host's port; 0 is one that is free.
	HostPort int `json:"host_port,omitempty" jsonschema:"the host's port; 0 is one that is free"`
	// GuestPort is the server's port.
	GuestPort int `json:"guest_port" jsonschema:"the port of the server in the task"`
	// UDP forwards datagrams in place of connections.
	UDP bool `json:"udp,omitempty" jsonschema:"forward datagrams in place of connections"`
	// Opened, if set, is told of the port, which is closed when the context ends; ForwardPort returns then.
	// Without it ForwardPort returns at once, and the port stays until UnforwardPort or the task's end.
	Opened func(ForwardedPort) `json:"-"`
}

// ForwardedPort is a port of the host that leads to one in a task.
type ForwardedPort struct {
	TaskID      string `json:"task_id"`
	HostIP      string `json:"host_ip"`
	HostPort    int    `json:"host_port"`
	GuestPort   int    `json:"guest_port"`
	UDP         bool   `json:"udp"`
	Stays       bool   `json:"stays"`
	Connections int    `json:"connections"`
}

// ListForwardsResult is a task's forwarded ports.
type ListForwardsResult struct {
	TaskID   string          `json:"task_id"`
	Forwards []ForwardedPort `json:"forwards"`
}

// UnforwardPortRequest names a forwarded port of the host.
type UnforwardPortRequest struct {
	TaskID string `json:"task_id" jsonschema:"the task's id or name"`
	// HostIP is the host's address; empty is 127.0.0.1.
	HostIP string `json:"host_ip,omitempty" jsonschema:"the host's address; 127.0.0.1 if left out"`
	// HostPort is the host's port.
	HostPort int `json:"host_port" jsonschema:"the host's port"`
	// UDP names a port of datagrams.
	UDP bool `json:"udp,omitempty" jsonschema:"a port of datagrams"`
}

// ForwardPort opens a port of the host that leads to a server in a running task.
func (p *Pyro) ForwardPort(ctx context.Context, r ForwardPortRequest) (ForwardedPort, error) {
	ask := link.PortForward{
		HostIP:    r.HostIP,
		HostPort:  r.HostPort,
		GuestPort: r.GuestPort,
		UDP:       r.UDP,
		Stay:      r.Opened == nil,
	}
	var got link.Forwarded
	if r.Opened == nil {
		err := p.job(ctx, &r.TaskID, link.OpForward, ask, &got)
		return viewForward(r.TaskID, got), err
	}
	if err := p.resolve(&r.TaskID, record.KindTask); err != nil {
		return ForwardedPort{}, err
	}
	s, err := p.reach(ctx, r.TaskID)
	if err != nil {
		return ForwardedPort{}, err
	}
	defer s.Close()
	err = s.Client.Note(ctx, link.OpForward, ask, func(note []byte) error {
		if err := json.Unmarshal(note, &got); err != nil {
			return err
		}
		r.Opened(viewForward(r.TaskID, got))
		return nil
	})
	if ctx.Err() != nil {
		return viewForward(r.TaskID, got), context.Cause(ctx)
	}
	return viewForward(r.TaskID, got), fromLink("", err)
}

// ListForwards lists a task's forwarded ports.
func (p *Pyro) ListForwards(ctx context.Context, r TaskRequest) (ListForwardsResult, error) {
	var found []link.Forwarded
	err := p.job(ctx, &r.TaskID, link.OpForwards, link.Empty{}, &found)
	out := ListForwardsResult{TaskID: r.TaskID, Forwards: make([]ForwardedPort, len(found))}
	for i, f := range found {
		out.Forwards[i] = viewForward(r.TaskID, f)
	}
	return out, err
}

// UnforwardPort closes a forwarded port, and its connections.
func (p *Pyro) UnforwardPort(ctx context.Context, r UnforwardPortRequest) (ForwardedPort, error) {
	var got link.Forwarded
	ask := link.PortForward{HostIP: r.HostIP, HostPort: r.HostPort, UDP: r.UDP}
	err := p.job(ctx, &r.TaskID, link.OpUnforward, ask, &got)
	return viewForward(r.TaskID, got), err
}

func viewForward(task string, f link.Forwarded) ForwardedPort {
	return ForwardedPort{
		TaskID:      task,
		HostIP:      f.HostIP,
		HostPort:    f.HostPort,
		GuestPort:   f.GuestPort,
		UDP:         f.UDP,
		Stays:       f.Stay,
		Connections: f.Connections,
	}
}
