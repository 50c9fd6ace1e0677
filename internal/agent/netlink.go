package agent

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"net/netip"

	"github.com/pyro-mcp/pyro/internal/link"
	"golang.org/x/sys/unix"
)

// setUpLink gives a network device its addresses over netlink: a boxed guest's kernel knows no other way.
func setUpLink(name string, n link.Network) error {
	prefix, err := netip.ParsePrefix(n.Address)
	if err != nil {
		return fmt.Errorf("the guest's address: %w", err)
	}
	gateway, err := netip.ParseAddr(n.Gateway)
	if err != nil {
		return fmt.Errorf("the gateway's address: %w", err)
	}
	mac, err := net.ParseMAC(n.MAC)
	if err != nil {
		return err
	}
	if !prefix.Addr().Is4() || !gateway.Is4() {
		return fmt.Errorf("the guest's addresses %q and %q are not both IPv4", n.Address, n.Gateway)
	}
	device, err := net.InterfaceByName(name)
	if err != nil {
		return err
	}
	// The device of a boxed guest counts the Ethernet header.
	const header = 14
	ne, index := binary.NativeEndian, uint32(device.Index)
	mtu := ne.AppendUint32(nil, uint32(max(n.MTU, 1500)+header))
	oif := ne.AppendUint32(nil, index)
	link := make([]byte, unix.SizeofIfInfomsg)
	ne.PutUint32(link[4:], index)
	ne.PutUint32(link[8:], unix.IFF_UP)
	ne.PutUint32(link[12:], unix.IFF_UP)
	addr := make([]byte, unix.SizeofIfAddrmsg)
	addr[0], addr[1] = unix.AF_INET, byte(prefix.Bits())
	ne.PutUint32(addr[4:], index)
	route := make([]byte, unix.SizeofRtMsg)
	route[0], route[4] = unix.AF_INET, unix.RT_TABLE_MAIN
	route[5], route[7] = unix.RTPROT_BOOT, unix.RTN_UNICAST
	return errors.Join(
		netlink(unix.RTM_SETLINK, 0, link, attribute{unix.IFLA_MTU, mtu}, attribute{unix.IFLA_ADDRESS, mac}),
		netlink(unix.RTM_NEWADDR, unix.NLM_F_CREATE, addr,
			attribute{unix.IFA_LOCAL, prefix.Addr().AsSlice()}),
		netlink(unix.RTM_NEWROUTE, unix.NLM_F_CREATE, route,
			attribute{unix.RTA_GATEWAY, gateway.AsSlice()}, attribute{unix.RTA_OIF, oif}),
		writeFile("/etc/resolv.conf", "nameserver "+n.DNS+"\n"))
}

type attribute struct {
	kind  uint16
	value []byte
}

// netlink has the kernel do one thing about its network.
func netlink(kind, flags uint16, body []byte, attributes ...attribute) error {
	ne := binary.NativeEndian
	message := make([]byte, unix.SizeofNlMsghdr, 128)
	message = append(message, body...)
	for _, a := range attributes {
		message = ne.AppendUint16(message, uint16(unix.SizeofRtAttr+len(a.value)))
		message = ne.AppendUint16(message, a.kind)
		message = append(message, a.value...)
		message = append(message, make([]byte, -len(a.value)&3)...)
	}
	ne.PutUint32(message[0:], uint32(len(message)))
	ne.PutUint16(message[4:], kind)
	ne.PutUint16(message[6:], unix.NLM_F_REQUEST|unix.NLM_F_ACK|flags)
	fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.NETLINK_ROUTE)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	if err := unix.Sendto(fd, message, 0, &unix.SockaddrNetlink{Family: unix.AF_NETLINK}); err != nil {
		return err
	}
	reply := make([]byte, 4096)
	got, _, err := unix.Recvfrom(fd, reply, 0)
	if err != nil {
		return err
	}
	if got < unix.SizeofNlMsghdr+4 || ne.Uint16(reply[4:]) != unix.NLMSG_ERROR {
		return errors.New("the kernel gave no answer over netlink")
	}
	if errno := -int32(ne.Uint32(reply[unix.SizeofNlMsghdr:])); errno != 0 {
		return unix.Errno(errno)
	}
	return nil
}
