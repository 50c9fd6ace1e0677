package qemu

import (
	"bufio"
	"crypto/sha256"
	"fmt"
	"io"
	"os"
	"strings"
)

// varying are the lines of /proc/cpuinfo that differ between the processors of one machine, or from one
// moment to the next.
func varying(name string) bool {
	switch name {
	case "processor", "cpu MHz", "bogomips", "BogoMIPS", "core id", "apicid", "initial apicid", "physical id",
		"siblings", "cpu cores":
		return true
	}
	return false
}

// processor is what a guest sees of the host under KVM: its processor, by model, stepping, microcode and
// flags, and the kernel that passes those on.
func processor() string {
	_, kernel := host()
	file, err := os.Open("/proc/cpuinfo")
	if err != nil {
		return kernel
	}
	defer file.Close()
	return kernel + " " + describe(file)
}

// describe gives a digest of the first processor that /proc/cpuinfo has.
func describe(cpuinfo io.Reader) string {
	digest := sha256.New()
	lines := bufio.NewScanner(cpuinfo)
	lines.Buffer(nil, maxFile)
	for lines.Scan() && lines.Text() != "" {
		name, value, _ := strings.Cut(lines.Text(), ":")
		if name = strings.TrimSpace(name); !varying(name) {
			fmt.Fprintf(digest, "%s=%s\n", name, strings.TrimSpace(value))
		}
	}
	return fmt.Sprintf("%x", digest.Sum(nil)[:8])
}
