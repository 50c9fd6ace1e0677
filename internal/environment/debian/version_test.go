package debian

import (
	"os/exec"
	"testing"

	"pgregory.net/rapid"
)

func TestCompareVersions(t *testing.T) {
	for _, test := range []struct {
		a, b string
		want int
	}{
		{"1.0", "1.0", 0}, {"1.0", "1.1", -1}, {"1.9", "1.10", -1}, {"1.0~rc1", "1.0", -1},
		{"1.0", "1.0-1", -1},
		{"1:0.1", "2.0", 1}, {"0:1", "1", 0}, {"1.0+b1", "1.0", 1}, {"1.0a", "1.0+", -1},
		{"1.0~~", "1.0~", -1},
		{"2.36-9+deb12u14", "2.36-9+deb12u9", 1}, {"1.002", "1.2", 0}, {"1.0-0", "1.0", 0}, {"1:", "1:0", 0},
	} {
		if got := compareVersions(test.a, test.b); got != test.want {
			t.Errorf("%q against %q gives %d, want %d", test.a, test.b, got, test.want)
		}
		if got := compareVersions(test.b, test.a); got != -test.want {
			t.Errorf("%q against %q gives %d, want %d", test.b, test.a, got, -test.want)
		}
	}
}

// TestCompareVersionsWithDpkg compares with what dpkg says of the same versions.
func TestCompareVersionsWithDpkg(t *testing.T) {
	dpkg, err := exec.LookPath("dpkg")
	if err != nil {
		t.Fatal("dpkg is missing: apt install dpkg")
	}
	version := rapid.StringMatching(`([0-2]:)?[0-9][0-9a-b.+~]{0,6}(-[0-9a-b.+~]{1,3})?`)
	for i := range 150 {
		a, b := version.Example(i), version.Example(i+1000)
		want := -1
		for c, op := range map[int]string{0: "eq", 1: "gt"} {
			if exec.Command(dpkg, "--compare-versions", a, op, b).Run() == nil {
				want = c
			}
		}
		if got := compareVersions(a, b); got != want {
			t.Errorf("%q against %q gives %d, dpkg says %d", a, b, got, want)
		}
	}
}

func FuzzVersions(f *testing.F) {
	f.Add("1:2.3~rc1-4+deb12u1", "2.3", "0")
	f.Add("1.0~~", "1.0~", "1.0")
	f.Fuzz(func(t *testing.T, a, b, c string) {
		if compareVersions(a, a) != 0 || compareVersions(a, b) != -compareVersions(b, a) {
			t.Errorf("the order of %q and %q is none", a, b)
		}
		if checkVersion(a) == nil && checkVersion(b) == nil && checkVersion(c) == nil &&
			compareVersions(a, b) < 0 && compareVersions(b, c) < 0 && compareVersions(a, c) >= 0 {
			t.Errorf("%q, %q and %q are in no order", a, b, c)
		}
	})
}
