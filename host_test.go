package pyro

import "testing"

func TestPlaces(t *testing.T) {
	for _, c := range []struct{ memoryMiB, processors, want int }{
		{2 << 10, 1, 4},      // a small machine
		{16 << 10, 8, 12},    // memory is what is short
		{512 << 10, 16, 128}, // processors are
		{0, 0, 4},            // nothing is known
	} {
		if got := places(c.memoryMiB, c.processors); got != c.want {
			t.Errorf("%d MiB and %d processors hold %d, want %d", c.memoryMiB, c.processors, got, c.want)
		}
	}
	if got := hostPlaces(); got < 4 {
		t.Errorf("this host holds %d", got)
	}
}
