package qemu

import "testing"

func TestParseTranslated(t *testing.T) {
	const said = "Translation buffer state:\r\ngen code size       4717507/1073736704\r\n" +
		"TB count            12841\r\nTB avg target size  14 max=1104 bytes\r\n"
	if n, err := parseTranslated(said); n != 12841 || err != nil {
		t.Errorf("got %d, %v", n, err)
	}
	for _, bad := range []string{"", "JIT information is only available with accel=tcg\r\n", "TB count",
		"TB count x"} {
		if n, err := parseTranslated(bad); err == nil {
			t.Errorf("%q gives %d", bad, n)
		}
	}
}
