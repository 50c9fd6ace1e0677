package vmm

// Accelerator is how the guest's instructions are run.
type Accelerator string

const (
	// Auto asks for KVM if a guest really boots on it, and for TCG otherwise.
	Auto Accelerator = "auto"
	// KVM is the processor's own virtualization, through /dev/kvm.
	KVM Accelerator = "kvm"
	// TCG is QEMU's emulation: slower, and to be had on every host.
	TCG Accelerator = "tcg"
)

// Accelerators lists what may be asked for.
func Accelerators() []Accelerator { return []Accelerator{Auto, KVM, TCG} }

// Choice is the accelerator chosen, and what is known about KVM on this host.
type Choice struct {
	Accelerator Accelerator `json:"accelerator"`
	KVM         Verdict     `json:"kvm"`
}

// Verdict is what was found about KVM. Each finding implies those before it.
type Verdict struct {
	Exists     bool `json:"exists"`     // the device is there
	Accessible bool `json:"accessible"` // this user may open it
	Usable     bool `json:"usable"`     // a guest booted on it
	// Tried is that a boot was tried, now or as remembered, so that Usable is more than a guess.
	Tried bool `json:"tried"`
	// Reason says in one sentence why KVM is not usable, and is empty if it is.
	Reason string `json:"reason,omitempty"`
}
