// Package network is the guest's network, ended in our process.
package network

import (
	"context"
	"errors"
	"io"
	"time"
)

// Config says how far the guest reaches.
type Config struct {
	Allow, Publish []string
	MAC            string
	Log            func(Decision)
}

// Decision is one.
type Decision struct {
	Time                                time.Time
	Allowed                             bool
	Protocol, Destination, Name, Reason string
}

// GuestConfig is the guest's side.
type GuestConfig struct {
	MAC, Address, Gateway, DNS string
	MTU                        int
}

// Info is the state.
type Info struct {
	Enabled bool `json:"enabled"`
}

// Network is one.
type Network struct{}

// New makes one.
func New(context.Context, Config) (*Network, error) { return nil, errors.New("no network yet") }

// Serve serves.
func (*Network) Serve(io.ReadWriteCloser) error { return nil }

// Guest tells.
func (*Network) Guest() GuestConfig { return GuestConfig{} }

// Info tells.
func (*Network) Info() Info { return Info{} }

// Close ends.
func (*Network) Close() error { return nil }
