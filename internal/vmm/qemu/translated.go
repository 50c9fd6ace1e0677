package qemu

import (
	"context"
	"fmt"
	"strconv"
	"strings"
)

// Translated is how many blocks of the guest's code QEMU has translated and keeps, under TCG: what a guest
// costs an emulator, by a figure that the host's load does not move.
func (m *machine) Translated(ctx context.Context) (int, error) {
	var text string
	command := map[string]any{"command-line": "info jit"}
	if err := m.qmp.execute(ctx, "human-monitor-command", command, nil, &text); err != nil {
		return 0, err
	}
	return parseTranslated(text)
}

// parseTranslated finds the count in what QEMU says for people, which is the only place where it says it.
func parseTranslated(text string) (int, error) {
	for line := range strings.Lines(text) {
		if rest, ok := strings.CutPrefix(line, "TB count"); ok {
			if fields := strings.Fields(rest); len(fields) > 0 {
				return strconv.Atoi(fields[0])
			}
		}
	}
	return 0, fmt.Errorf("qemu does not say how many blocks it has translated: %.80q", text)
}
