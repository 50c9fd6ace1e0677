//go:build ignore

// Command mkscratch makes FILE with mke2fs (e2fsprogs): the blocks of an empty ext4 of SIZE that are not all
// zeros. Its arguments are FILE and SIZE.
package main

import (
	"bytes"
	"compress/flate"
	"encoding/binary"
	"io"
	"log"
	"os"
	"os/exec"
	"path/filepath"
)

func main() {
	dir, err := os.MkdirTemp("", "mkscratch")
	check(err)
	defer os.RemoveAll(dir)
	disk := filepath.Join(dir, "disk")
	// The UUIDs and the time are fixed, so that the same mke2fs makes the same file.
	// A configuration of our own makes it the same on every distribution.
	config := filepath.Join(dir, "mke2fs.conf")
	check(os.WriteFile(config, []byte(
		"[fs_types]\next4 = {\nfeatures = has_journal\n}\nsmall = {\ninode_size = 256\n}\n"), 0o600))
	// No checksums of metadata: in an emulated guest they make deleting files five times slower.
	const features = "none,has_journal,extent,huge_file,flex_bg,uninit_bg,64bit,dir_nlink,extra_isize," +
		"sparse_super,large_file,resize_inode,dir_index,ext_attr,filetype"
	// Room for the group descriptors of 1 TiB is reserved.
	const extended = "lazy_itable_init=1,lazy_journal_init=1,resize=268435456," +
		"hash_seed=70796500-0000-4000-8000-000000000002"
	cmd := exec.Command("mke2fs", "-q", "-t", "ext4", "-b", "4096", "-I", "256", "-i", "8192", "-J",
		"size=16", "-m", "0",
		"-U", "70796500-0000-4000-8000-000000000001", "-O", features, "-E", extended, disk, os.Args[2])
	cmd.Env = append(os.Environ(), "E2FSPROGS_FAKE_TIME=1700000000", "MKE2FS_CONFIG="+config)
	cmd.Stdout, cmd.Stderr = os.Stderr, os.Stderr
	check(cmd.Run())
	f, err := os.Open(disk)
	check(err)
	var out bytes.Buffer
	w, err := flate.NewWriter(&out, flate.BestCompression)
	check(err)
	var block, zeros [4096]byte
	for number := uint32(0); ; number++ {
		_, err := io.ReadFull(f, block[:])
		if err == io.EOF {
			break
		}
		check(err)
		if block != zeros {
			check(binary.Write(w, binary.LittleEndian, number))
			_, err = w.Write(block[:])
			check(err)
		}
	}
	check(w.Close())
	check(os.WriteFile(os.Args[1], out.Bytes(), 0o644))
}

func check(err error) {
	if err != nil {
		log.Fatal(err)
	}
}
