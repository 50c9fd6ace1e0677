// Package text has what several rooms do with foreign text: lines of a bounded length, and names that were
// mistyped.
package text

import (
	"bufio"
	"bytes"
	"errors"
	"strings"
)

// ErrTooLong is the error of [Line] for a line that is longer than its limit.
var ErrTooLong = errors.New("line too long")

// Line reads a line of at most limit bytes, and gives it without its newline. Of a longer one it reads all,
// keeps the first keep bytes and gives [ErrTooLong]. A last line without a newline comes with the reader's
// error. Length is how many bytes were read, the newline included.
func Line(r *bufio.Reader, limit, keep int) (line []byte, length int64, err error) {
	long := false
	for {
		part, err := r.ReadSlice('\n')
		length += int64(len(part))
		part = bytes.TrimSuffix(part, []byte{'\n'})
		if !long && len(line)+len(part) > limit {
			long, part = true, part[:min(len(part), max(0, keep-len(line)))]
			line = bytes.Clone(append(line[:min(len(line), keep)], part...))
		} else if !long {
			line = append(line, part...)
		}
		switch {
		case errors.Is(err, bufio.ErrBufferFull):
		case err == nil && long:
			return line, length, ErrTooLong
		default:
			return line, length, err
		}
	}
}

// leastPrefix is how many characters of a name's beginning tell which one is meant.
const leastPrefix = 3

// Nearest gives the known name that begins with a mistyped one, or else is closest to it, or "" if none is
// close.
func Nearest(name string, known []string) string {
	for _, candidate := range known {
		if len(name) >= leastPrefix && strings.HasPrefix(candidate, name) {
			return candidate
		}
	}
	best, bestDistance := "", max(2, len(name)/3)+1
	for _, candidate := range known {
		if d := distance(name, candidate, bestDistance); d < bestDistance {
			best, bestDistance = candidate, d
		}
	}
	return best
}

// distance counts the insertions, deletions, replacements and swaps of neighbours that make a of b; enough
// stands for all that are larger.
func distance(a, b string, enough int) int {
	if len(a)-len(b) >= enough || len(b)-len(a) >= enough {
		return enough
	}
	rows := make([][]int, len(a)+1)
	for i := range rows {
		rows[i] = make([]int, len(b)+1)
		rows[i][0] = i
	}
	for j := range rows[0] {
		rows[0][j] = j
	}
	for i := 1; i <= len(a); i++ {
		for j := 1; j <= len(b); j++ {
			change := 1
			if a[i-1] == b[j-1] {
				change = 0
			}
			rows[i][j] = min(rows[i-1][j]+1, rows[i][j-1]+1, rows[i-1][j-1]+change)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				rows[i][j] = min(rows[i][j], rows[i-2][j-2]+1)
			}
		}
	}
	return rows[len(a)][len(b)]
}
