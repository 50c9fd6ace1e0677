package qemu

import (
	"fmt"
	"os"
	"strings"

	"github.com/pyro-mcp/pyro/internal/vmm"
)

// sandbox is QEMU's own system call filter: no other programs, no new privileges, no other priorities.
const sandbox = "on,obsolete=deny,elevateprivileges=deny,spawn=deny,resourcecontrol=deny"

// firstFile is the number that the first of a command's files has in the child.
const firstFile = 3

// command is a QEMU command line, and the files that its arguments name by their numbers.
type command struct {
	args     []string
	files    []*os.File
	incoming string   // where to load a state from, once the capabilities are set
	reads    []string // what is named by its path, to be read
	lent     bool     // the file of the guest's memory is lent, see package confine
	become   string   // the path of a checkpoint to go on from, which is the last of the files
}

func (c *command) add(args ...string) { c.args = append(c.args, args...) }

// file passes on an open file and returns its number in the child.
func (c *command) file(f *os.File) int {
	c.files = append(c.files, f)
	return firstFile + len(c.files) - 1
}

// ends are those of the two socketpairs that join a machine to this process: QMP connection and link.
type ends struct{ qmp, link *os.File }

func (e ends) close() {
	for _, f := range []*os.File{e.qmp, e.link} {
		if f != nil {
			f.Close()
		}
	}
}

// build makes QEMU's command line from a spec that has been checked and whose disks are open. It touches
// nothing: the same spec gives the same arguments.
func build(p platform, can abilities, cpu string, spec vmm.Spec, child ends, kernelCmdline string) command {
	var c command
	// The description of the state is for debuggers alone, and QEMU 10.0 ends while it writes it.
	machine := p.machine[spec.Accelerator] + ",dump-guest-core=off,suppress-vmdesc=on"
	if spec.Memory != nil {
		machine += ",memory-backend=ram"
	}
	c.add("-name", escape(spec.Name), "-machine", machine, "-cpu", cpu, "-accel", accel(spec.Accelerator),
		"-smp", fmt.Sprint(spec.VCPUs), "-m", fmt.Sprintf("%dM", spec.MemMiB))
	c.add("-nodefaults", "-no-user-config", "-no-reboot", "-display", "none", "-sandbox", sandbox)
	// A state has no description of the machine in it: that of a snapshot cannot, and one reader is enough.
	c.add("-global", "migration.send-configuration=off")
	c.add("-chardev", fmt.Sprintf("socket,id=qmp,fd=%d", c.file(child.qmp)), "-mon",
		"chardev=qmp,mode=control")
	if spec.Incoming == nil { // a state has the kernel in its memory
		c.add("-kernel", spec.Kernel, "-initrd", spec.Initrd, "-append", kernelCmdline)
		c.reads = append(c.reads, spec.Kernel, spec.Initrd)
	}
	c.memory(spec.Memory, spec.MemMiB, can.ReadOnlyMemory)
	c.console(spec.Console)
	for _, disk := range spec.Disks {
		c.disk(disk)
	}
	c.add("-device", "virtio-serial-device,max_ports=2",
		"-chardev", fmt.Sprintf("socket,id=link,fd=%d", c.file(child.link)),
		"-device", "virtserialport,chardev=link,name="+vmm.LinkPort)
	if spec.Network != nil {
		c.add("-netdev", fmt.Sprintf("stream,id=net,server=off,addr.type=fd,addr.str=%d",
			c.file(spec.Network)),
			"-device", "virtio-net-device,netdev=net,mac="+spec.MAC)
	}
	if spec.Incoming != nil {
		c.add("-incoming", "defer")
		if spec.Ready != nil {
			c.add("-S")
		}
		c.incoming = fmt.Sprintf("fd:%d", c.file(spec.Incoming))
	}
	return c
}

// accel bounds TCG's buffer of translated code, which QEMU would otherwise make as large as an eighth of
// the host's memory.
func accel(a vmm.Accelerator) string {
	if a == vmm.TCG {
		return "tcg,tb-size=128"
	}
	return string(a)
}

// memory puts the guest's memory in a file.
func (c *command) memory(m *vmm.Memory, mib int, readOnly bool) {
	if m == nil {
		return
	}
	share := "off"
	switch {
	case m.Shared:
		share, c.lent = "on", true
	case readOnly:
		share = "off,readonly=on,rom=off" // the file, not the guest's own memory over it
		c.reads = append(c.reads, m.Path)
	default:
		c.lent = true // It is opened for writing as well.
	}
	c.add("-object", fmt.Sprintf("memory-backend-file,id=ram,size=%dM,share=%s,mem-path=%s", mib, share,
		escape(m.Path)))
}

// console joins the serial port to standard output: the one character device that takes a file, a pipe and
// a socket alike, already open.
func (c *command) console(out *os.File) {
	if out == nil {
		c.add("-chardev", "null,id=console")
	} else {
		c.add("-chardev", "stdio,id=console,signal=off")
	}
	c.add("-serial", "chardev:console")
}

// disk gives the guest an open disk. Errors are reported to the guest; QEMU's default is to stop the
// guest if the host is full, which looks like a hang. No locks: the VM's directory has one.
func (c *command) disk(d vmm.Disk) {
	n := c.file(d.File)
	noFlush, access := "on", "read-only=off,discard=unmap"
	if d.Durable {
		noFlush = "off"
	}
	if d.ReadOnly {
		access = "read-only=on"
	}
	c.add("-add-fd", fmt.Sprintf("fd=%d,set=%d", n, n),
		"-blockdev", fmt.Sprintf("driver=file,node-name=file-%s,filename=/dev/fdset/%d,locking=off,"+
			"cache.direct=off,cache.no-flush=%s,%s", d.ID, n, noFlush, access),
		"-blockdev", fmt.Sprintf("driver=raw,node-name=%s,file=file-%s,cache.direct=off,cache.no-flush=%s,%s",
			d.ID, d.ID, noFlush, access),
		"-device", fmt.Sprintf("virtio-blk-device,drive=%s,serial=%s,num-queues=1,"+
			"rerror=report,werror=report", d.ID, d.ID))
}

// escape keeps a comma in a value from ending it.
func escape(value string) string { return strings.ReplaceAll(value, ",", ",,") }
