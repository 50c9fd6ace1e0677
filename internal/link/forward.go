package link

// The operations on ports of the host that lead into the guest, which a supervisor answers. They need no
// network device of the guest's: a connection ends at the guest's own loopback.
const (
	OpForward   Op = "forward"   // PortForward -> Forwarded; as a note first if it does not stay
	OpForwards  Op = "forwards"  // Empty -> Forwarded of each
	OpUnforward Op = "unforward" // PortForward -> Forwarded
)

// PortForward asks for a port of the host that leads to a port in the guest.
type PortForward struct {
	HostIP    string `json:"host_ip"`   // empty is 127.0.0.1
	HostPort  int    `json:"host_port"` // 0 is one that is free
	GuestPort int    `json:"guest_port"`
	UDP       bool   `json:"udp,omitempty"`
	Stay      bool   `json:"stay,omitempty"` // it stays when who asked goes, and when the VM is started again
}

// Forwarded is a port of the host that leads into the guest.
type Forwarded struct {
	PortForward
	Connections int `json:"connections"` // that are open
}
