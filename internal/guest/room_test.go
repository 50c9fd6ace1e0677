package guest

import (
	"strings"
	"testing"
)

func TestRoom(t *testing.T) {
	m := readMemory("MemTotal:       24683520 kB\nMemFree:  1 kB\n" +
		"MemAvailable:   23552000 kB\nSwapTotal:  0 kB\nSwapFree: 0 kB\n")
	if m != (hostMemory{24105, 23000}) {
		t.Errorf("read %+v", m)
	}
	for _, c := range []struct {
		mib, promised int64
		want          string
	}{
		{14000, 0, ""},
		{14000, 10105, ""},
		{14000, 14000, "24105 MiB of memory 14000 MiB are promised"},
		{23500, 0, "23000 MiB of memory left"},
	} {
		err := m.roomFor(c.mib, c.promised)
		if (err == nil) != (c.want == "") || err != nil && !strings.Contains(err.Error(), c.want) {
			t.Errorf("%d beside %d: %v", c.mib, c.promised, err)
		}
	}
}
