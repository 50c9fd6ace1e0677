package qemu

import "github.com/pyro-mcp/pyro/internal/vmm"

// platform is all that differs between the guests' architectures, which are always those of the host.
type platform struct {
	binary  string                       // the name to look for on PATH
	machine map[vmm.Accelerator]string   // -machine, without its memory
	cpu     map[vmm.Accelerator][]string // -cpu; for KVM each is tried until one boots
	cmdline string                       // for the kernel: its console, and how it ends
	tcg     string                       // what is added to it under TCG
}

// kernelCmdline is the command line of each kernel of this platform.
func (p platform) kernelCmdline(a vmm.Accelerator) string {
	if a == vmm.TCG {
		return p.cmdline + " " + p.tcg
	}
	return p.cmdline
}

// quick spares each kernel some time. Of what its parts do as they start it leaves out a cipher's test, and
// the reading of the key that Debian signs modules with, which are not checked.
const quick = "cryptomgr.notests rcupdate.rcu_expedited=1 lsm=landlock audit=0 psi=0 noautogroup " +
	"nowatchdog initcall_blacklist=crypto_kdf108_init,load_system_certificate_list"

// untold has an emulated kernel not look ahead through all 37,000 places at which functions can be traced for
// those of functions that were replaced: a sixth of all instructions of a boot. It finds them out when they
// are listed. Who has it trace functions by their names gets a warning in its log, once, and the trace.
const untold = "initcall_blacklist=ftrace_check_for_weak_functions"

// platforms has the architectures by their Go names.
//
// The microvm machine keeps ACPI, since Debian's kernel finds virtio devices by nothing else. It keeps its
// clock, whose absence takes the kernel 2 s to see, and under KVM the interval timer for the same reason.
// Under TCG the kernel is told how fast its processor is (see reading.cmdline), and would measure that
// against the timer all the same, which takes it 20 ms.
//
// The processor under TCG leaves out what is dear to translate: erms and fsrm make the kernel copy and clear
// memory byte by byte, la57 adds a level to each page walk, smap ends a translated block at each access to
// user memory. Speculation, against which mitigations are, does not happen there. The kernel's tests of its
// own ciphers and its patience before it frees what others may read are half a second of a boot. Programs lie
// at the same addresses each time (norandmaps), because translated code is found again by its address:
// otherwise each new process of a program that ran before takes 2.5 to 3.5 times as long to start. What a
// command could gain from known addresses is another process of its own VM.
//
// It has no instructions for random numbers either: QEMU answers them from a generator of its own library,
// whose state is in a checkpoint, so that each machine that goes on from there would be told the same.
//
// Under KVM a guest gets the host's processor, but for its virtualization, which is a large part of the
// host's kernel to attack, and its performance counters, which tell one guest of what others do.
//
// On some hosts, most of them guests themselves, KVM refuses the register that arch-capabilities stands for.
func platforms() map[string]platform {
	return map[string]platform{
		"amd64": {
			binary: "qemu-system-x86_64",
			machine: map[vmm.Accelerator]string{
				vmm.KVM: "microvm,acpi=on,rtc=on",
				vmm.TCG: "microvm,acpi=on,rtc=on,pit=off",
			},
			cpu: map[vmm.Accelerator][]string{
				vmm.KVM: {
					"host,-svm,-vmx,pmu=off",
					"host,-svm,-vmx,pmu=off,-arch-capabilities",
				},
				vmm.TCG: {"max,-erms,-fsrm,-la57,-smap,-rdrand,-rdseed"},
			},
			cmdline: "console=ttyS0 quiet reboot=t panic=-1 pci=off " + quick,
			tcg: "mitigations=off norandmaps init_on_alloc=0 hardened_usercopy=off noreplace-smp " +
				"tsc=reliable " + untold,
		},
		"arm64": {
			binary: "qemu-system-aarch64",
			machine: map[vmm.Accelerator]string{
				vmm.KVM: "virt,gic-version=host",
				vmm.TCG: "virt,gic-version=3",
			},
			cpu: map[vmm.Accelerator][]string{
				vmm.KVM: {"host,pmu=off"},
				vmm.TCG: {"max,pauth-impdef=on"},
			},
			cmdline: "console=ttyAMA0 quiet panic=-1 " + quick,
			tcg:     "mitigations=off norandmaps init_on_alloc=0 hardened_usercopy=off",
		},
	}
}
