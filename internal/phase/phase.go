// Package phase tells who debugs pyro how long each step of a way took: one line for each, with milliseconds.
package phase

import (
	"context"
	"log/slog"
	"math"
	"time"
)

// Clock tells the phases of one way, one after the other.
type Clock struct {
	log  *slog.Logger
	last time.Time
}

// Start begins the first phase.
func Start(log *slog.Logger) *Clock { return &Clock{log: log, last: time.Now()} }

// Done says that a phase is over, with more that is known of it as slog has its attributes, and begins the
// next one.
func (c *Clock) Done(name string, more ...any) {
	now := time.Now()
	took := now.Sub(c.last)
	c.last = now
	if c.log.Enabled(context.Background(), slog.LevelDebug) {
		c.log.Debug(name, append([]any{slog.Float64("ms", milliseconds(took))}, more...)...)
	}
}

// milliseconds gives a duration in them, with one decimal.
func milliseconds(d time.Duration) float64 { return math.Round(d.Seconds()*1e4) / 10 }
