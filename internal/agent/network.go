package agent

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"unsafe"

	"github.com/pyro-mcp/pyro/internal/link"
	"golang.org/x/sys/unix"
)

// configureNetwork sets up the one network device that there is, with static addresses.
func configureNetwork(n link.Network) error {
	name, err := networkDevice()
	if err != nil {
		return err
	}
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
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	mask := net.CIDRMask(prefix.Bits(), 32)
	for _, step := range []func() error{
		func() error { return setMAC(fd, name, mac) },
		func() error { return setMTU(fd, name, n.MTU) },
		func() error { return setAddress(fd, name, unix.SIOCSIFADDR, prefix.Addr().AsSlice()) },
		func() error { return setAddress(fd, name, unix.SIOCSIFNETMASK, mask) },
		func() error { return linkUp(name) },
		func() error { return addDefaultRoute(fd, gateway.As4()) },
		func() error { return writeFile("/etc/resolv.conf", "nameserver "+n.DNS+"\n") },
	} {
		if err := step(); err != nil {
			return fmt.Errorf("cannot set up the network device %q: %w", name, err)
		}
	}
	return nil
}

func networkDevice() (string, error) {
	devices, err := filepath.Glob("/sys/class/net/*/device")
	if err != nil {
		return "", err
	}
	if len(devices) == 0 {
		return "", errors.New("there is no network device")
	}
	return filepath.Base(filepath.Dir(devices[0])), nil
}

func linkUp(name string) error {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	req, err := unix.NewIfreq(name)
	if err != nil {
		return err
	}
	if err := unix.IoctlIfreq(fd, unix.SIOCGIFFLAGS, req); err != nil {
		return err
	}
	req.SetUint16(req.Uint16() | unix.IFF_UP)
	return unix.IoctlIfreq(fd, unix.SIOCSIFFLAGS, req)
}

// setMTU leaves the device's own if none is given.
func setMTU(fd int, name string, mtu int) error {
	if mtu == 0 {
		return nil
	}
	req, err := unix.NewIfreq(name)
	if err != nil {
		return err
	}
	req.SetUint32(uint32(mtu))
	return unix.IoctlIfreq(fd, unix.SIOCSIFMTU, req)
}

func setAddress(fd int, name string, request uint, addr []byte) error {
	req, err := unix.NewIfreq(name)
	if err != nil {
		return err
	}
	if err := req.SetInet4Addr(addr); err != nil {
		return err
	}
	return unix.IoctlIfreq(fd, request, req)
}

// setMAC gives the device its address: a clone's differs from its template's. The layout is struct ifreq of
// netdevice(7).
func setMAC(fd int, name string, mac net.HardwareAddr) error {
	const etherType = 1 // ARPHRD_ETHER
	old, err := os.ReadFile("/sys/class/net/" + name + "/address")
	if err == nil && strings.TrimSpace(string(old)) == mac.String() {
		return nil
	}
	var req [40]byte
	copy(req[:15], name)
	req[16] = etherType
	copy(req[18:24], mac)
	return ioctl(fd, unix.SIOCSIFHWADDR, unsafe.Pointer(&req))
}

// addDefaultRoute is SIOCADDRT with struct rtentry of linux/route.h.
func addDefaultRoute(fd int, gateway [4]byte) error {
	type sockaddr struct {
		family uint16
		port   uint16
		addr   [4]byte
		zero   [8]byte
	}
	route := struct {
		_             uint64
		dst, gw, mask sockaddr
		flags         uint16
		_             [80]byte
	}{
		dst:   sockaddr{family: unix.AF_INET},
		gw:    sockaddr{family: unix.AF_INET, addr: gateway},
		mask:  sockaddr{family: unix.AF_INET},
		flags: unix.RTF_UP | unix.RTF_GATEWAY,
	}
	if err := ioctl(fd, unix.SIOCADDRT, unsafe.Pointer(&route)); !errors.Is(err, unix.EEXIST) {
		return err
	}
	return nil // as it was before, in another machine
}

func ioctl(fd int, request uint, arg unsafe.Pointer) error {
	if _, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(fd), uintptr(request), uintptr(arg)); errno != 0 {
		return errno
	}
	return nil
}
