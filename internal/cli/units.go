package cli

import (
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"
)

// duration is a flag that takes seconds, or a duration with a unit: 90, 90s, 10m, 2h, 1h30m, 1d. -1 is not
// set.
type duration struct{ value, least int }

func (d *duration) String() string {
	if d.value < 0 {
		return ""
	}
	return strconv.Itoa(d.value)
}

// Type names what the flag takes.
func (d *duration) Type() string { return "SECONDS" }

// Set reads the flag's value.
func (d *duration) Set(text string) error {
	v, err := seconds(text)
	if err != nil || v < d.least {
		return fmt.Errorf("want seconds, or a duration like 90s, 10m or 2h, of %d s or more", d.least)
	}
	d.value = v
	return nil
}

// seconds reads a number of seconds, or a duration, which is rounded up to a second.
func seconds(text string) (int, error) {
	if n, err := strconv.Atoi(text); err == nil {
		return n, nil
	}
	if days, ok := strings.CutSuffix(text, "d"); ok {
		if n, err := strconv.Atoi(days); err == nil && n < math.MaxInt32/86400 {
			return n * 86400, nil
		}
	}
	d, err := time.ParseDuration(text)
	if err != nil {
		return 0, err
	}
	return int(math.Ceil(d.Seconds())), nil
}

// mebibytes is a flag that takes MiB, or a size with a unit: 512, 512m, 2g, 1.5GiB.
type mebibytes struct{ value, least int }

func (m *mebibytes) String() string { return strconv.Itoa(m.value) }

// Type names what the flag takes.
func (m *mebibytes) Type() string { return "MIB" }

// Set reads the flag's value.
func (m *mebibytes) Set(text string) error {
	v, err := inMiB(text)
	if err != nil || v < m.least {
		return fmt.Errorf("want MiB, or a size like 512m or 2g, of %d MiB or more", m.least)
	}
	m.value = v
	return nil
}

// inMiB reads a number of MiB, or a size with a unit, which is rounded up to a MiB. Units are of 1024, as
// memory's are.
func inMiB(text string) (int, error) {
	if n, err := strconv.Atoi(text); err == nil {
		return n, nil
	}
	number := strings.TrimRight(strings.ToLower(text), "bi")
	factors := map[byte]float64{'k': 1.0 / 1024, 'm': 1, 'g': 1024, 't': 1024 * 1024}
	if number == "" {
		return 0, fmt.Errorf("%q is no size", text)
	}
	factor, ok := factors[number[len(number)-1]]
	if !ok {
		return 0, fmt.Errorf("%q has no unit", text)
	}
	digits := number[:len(number)-1]
	n, err := strconv.ParseFloat(digits, 64)
	if err != nil || strings.Trim(digits, "0123456789.") != "" || n > 1<<40 {
		return 0, fmt.Errorf("%q is no size", text)
	}
	return int(math.Ceil(n * factor)), nil
}

// span words a duration as the flags take it: 10m, not 10m0s.
func span(d time.Duration) string {
	text := d.String()
	if strings.HasSuffix(text, "m0s") {
		text = strings.TrimSuffix(text, "0s")
	}
	if strings.HasSuffix(text, "h0m") {
		text = strings.TrimSuffix(text, "0m")
	}
	return text
}
