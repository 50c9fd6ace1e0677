package vmm

import "os"

// Spec is all that a machine is made of. What is not in it the machine does not get: no device, no file,
// no network.
type Spec struct {
	// Name is shown in the host's process list.
	Name string

	// Dir is a directory of the caller's where the VMM may keep what it needs while it runs. It needs
	// [Abilities].Boxed.
	Dir string

	// Kernel is the path of the guest's kernel: a bzImage, or an ELF vmlinux if the driver can.
	Kernel string
	// Initrd is the path of its initramfs.
	Initrd string
	// Cmdline has arguments for the kernel beside those that the driver needs (console, reboot, panic).
	Cmdline string

	VCPUs  int // 0 is 1; at most [Abilities].VCPUs
	MemMiB int // 0 is 1024
	// Accelerator is [KVM] or [TCG]: ask [Driver].Accelerator which.
	Accelerator Accelerator

	// Disks are found in the guest by what is on them: no order and no name is promised there, only which
	// may be written.
	Disks []Disk

	// Network is the child's end of a connected stream socket on which each Ethernet frame stands behind
	// its length, 4 bytes, big-endian. Nil is no network device. It needs [Abilities].Network.
	Network *os.File
	// MAC is the network device's address, as in 52:54:00:12:34:56.
	MAC string

	// Console gets what the guest's kernel has to say: warnings and panics. It may be a pipe; who owns it
	// must read it, and bound what they keep. Nil is thrown away.
	Console *os.File
	// Log is the VMM's own standard error. Nil: its last line is still found in [Machine].Err.
	Log *os.File

	// Memory is the guest's memory if it must be in a file. Nil is anonymous memory.
	Memory *Memory
	// Incoming is the state that [Freezer].Freeze or [Snapshotter].Snapshot wrote, at its beginning: go on
	// from there instead of booting. All else in the Spec must be as it was when that was written, but for
	// the files themselves. Nil boots.
	Incoming *os.File
	// Checkpoint is the path of what [Checkpointer].Checkpoint wrote: go on from there, instead of from
	// Incoming. The same holds for the rest of the Spec, but Disks may be durable or not. Empty is none.
	Checkpoint string
	// Ready is called when all of Incoming is loaded, before the guest runs its first instruction: until
	// then no disk is touched. If it fails, so does the start. It may be nil.
	Ready func() error
}

// LinkPort is the name of the port that [Machine].Link leads to in the guest, if that has ports with names.
const LinkPort = "pyro.link"

// Disk is a raw disk. One of File and Path is set.
type Disk struct {
	// File is the open disk: for reading, and for writing unless ReadOnly. The machine reads and writes
	// at offsets, so that open files may be shared.
	File *os.File
	// Path is the disk's path, which the driver opens itself.
	Path string
	// ID tells the disks of a machine apart, in errors too: at most 20 bytes of letters, digits, '-' and
	// '_'.
	ID       string
	ReadOnly bool
	// Durable is that what the guest flushes reaches the host's disk. Otherwise a flush is a no-op and the
	// disk is only as good as the host's page cache: for what ends with the machine.
	Durable bool
}

// Memory is guest memory in a file.
type Memory struct {
	// Path is the file, made if it is missing and brought to the guest's size.
	Path string
	// Shared is that the guest writes to the file: to freeze it. Otherwise the guest's writes stay its own
	// and the file is not changed: to clone.
	Shared bool
	// Overlay has pages that take the place of the file's, as [Snapshotter].Snapshot kept them. They become
	// the guest's own. Nil is none.
	Overlay *os.File
}
