package image

import (
	"bytes"
	"encoding/binary"
	"io"
	"os"
	"os/exec"
	"strings"
	"testing"
)

// bzImage wraps a compressed payload that unpacks to length bytes, as the kernel's build does.
func bzImage(payload []byte, length uint32) []byte {
	const sectors = 2
	b := make([]byte, (sectors+1)*setupSector+64)
	le := binary.LittleEndian
	b[setupSectors] = sectors
	copy(b[setupMagic:], "HdrS")
	le.PutUint16(b[setupVersion:], 0x20f)
	le.PutUint32(b[setupPayload:], 64)
	le.PutUint32(b[setupLength:], uint32(len(payload)+4))
	b = append(b, payload...)
	return append(le.AppendUint32(b, length), "what follows"...)
}

func compress(t testing.TB, data []byte, name string, args ...string) []byte {
	t.Helper()
	if _, err := exec.LookPath(name); err != nil {
		t.Fatalf("%s is missing: apt install gzip xz-utils zstd lz4", name)
	}
	cmd := exec.CommandContext(t.Context(), name, args...)
	cmd.Stdin = bytes.NewReader(data)
	out, err := cmd.Output()
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// TestExtractKernel unpacks this test's own program, an ELF file that has x86 code as a kernel has, from what
// the commands of the kernel's build make of it.
func TestExtractKernel(t *testing.T) {
	program, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	f, err := os.Open(program)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	kernel, err := io.ReadAll(io.LimitReader(f, 9<<20)) // more than a block of LZ4
	if err != nil {
		t.Fatal(err)
	}
	for _, command := range []string{
		"gzip -n -f -1", "xz --check=crc32 --x86 --lzma2=,dict=32MiB,mode=fast,nice=8,mf=hc3", "zstd -1",
		"lz4 -l -1 stdin stdout",
	} {
		t.Run(command, func(t *testing.T) {
			words := strings.Fields(command)
			packed := compress(t, kernel, words[0], words[1:]...)
			got, err := ExtractKernel(bzImage(packed, uint32(len(kernel))))
			if err != nil {
				t.Fatal(err)
			}
			if !bytes.Equal(got, kernel) {
				t.Error("the kernel changed on the way")
			}
			half := bzImage(packed[:len(packed)/2], uint32(len(kernel)))
			if _, err := ExtractKernel(half); err == nil {
				t.Error("half a kernel was taken")
			}
		})
	}
}

func TestExtractKernelRefuses(t *testing.T) {
	for name, b := range map[string][]byte{
		"nothing":       nil,
		"zeros":         make([]byte, 4096),
		"unknown":       bzImage([]byte("LZO!"), 3),
		"not ELF":       bzImage([]byte(lz4Magic+"\x06\x00\x00\x00\x50hello"), 5),
		"a bomb's word": bzImage([]byte(lz4Magic), 1<<32-1),
		"cut payload":   bzImage(make([]byte, 100), 5)[:1600],
	} {
		if _, err := ExtractKernel(b); err == nil {
			t.Errorf("%s: was taken", name)
		}
	}
}
