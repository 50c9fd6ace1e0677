package debian

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
)

// checkVersion refuses what deb-version(7) does not allow.
func checkVersion(v string) error {
	epoch, upstream, revision := splitVersion(v)
	if _, err := strconv.ParseUint(epoch, 10, 31); err != nil {
		return fmt.Errorf("the version %q has no number as its epoch", v)
	}
	if upstream == "" || len(v) > 300 {
		return fmt.Errorf("%q is not a version", v)
	}
	if strings.HasSuffix(v, "-") {
		return fmt.Errorf("the version %q has an empty revision", v)
	}
	for _, c := range upstream + revision {
		if !isDigit(byte(c)) && !isLetter(byte(c)) && !strings.ContainsRune("-+.~:", c) {
			return fmt.Errorf("the version %q has a strange character", v)
		}
	}
	if strings.ContainsAny(revision, "-:") {
		return errors.New("a version's revision has a strange character")
	}
	return nil
}

func splitVersion(v string) (epoch, upstream, revision string) {
	epoch, upstream = "0", v
	if e, rest, ok := strings.Cut(v, ":"); ok {
		epoch, upstream = e, rest
	}
	if i := strings.LastIndexByte(upstream, '-'); i >= 0 {
		upstream, revision = upstream[:i], upstream[i+1:]
	}
	return epoch, upstream, revision
}

// compareVersions orders two versions as deb-version(7) says.
func compareVersions(a, b string) int {
	epochA, upstreamA, revisionA := splitVersion(a)
	epochB, upstreamB, revisionB := splitVersion(b)
	for _, pair := range [][2]string{{epochA, epochB}, {upstreamA, upstreamB}, {revisionA, revisionB}} {
		if c := compareParts(pair[0], pair[1]); c != 0 {
			return c
		}
	}
	return 0
}

// compareParts takes, in turn, a stretch of other characters and a number from the front of both.
func compareParts(a, b string) int {
	for a != "" || b != "" {
		for a != "" && !isDigit(a[0]) || b != "" && !isDigit(b[0]) {
			x, y := weight(a), weight(b)
			if x != y {
				return sign(x - y)
			}
			a, b = a[1:], b[1:]
		}
		var x, y string
		x, a = cutNumber(a)
		y, b = cutNumber(b)
		if len(x) != len(y) {
			return sign(len(x) - len(y))
		}
		if c := strings.Compare(x, y); c != 0 {
			return c
		}
	}
	return 0
}

// weight ranks the first character: a tilde before the end, that before letters, those before the rest.
func weight(s string) int {
	switch {
	case s == "" || isDigit(s[0]):
		return 0
	case s[0] == '~':
		return -1
	case isLetter(s[0]):
		return int(s[0])
	}
	return int(s[0]) + 256
}

// cutNumber takes the digits from the front, without leading zeros.
func cutNumber(s string) (number, rest string) {
	i := 0
	for i < len(s) && isDigit(s[i]) {
		i++
	}
	return strings.TrimLeft(s[:i], "0"), s[i:]
}

func isDigit(c byte) bool  { return c >= '0' && c <= '9' }
func isLetter(c byte) bool { return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' }

func sign(n int) int {
	switch {
	case n < 0:
		return -1
	case n > 0:
		return 1
	}
	return 0
}
