package hostcompat

import "golang.org/x/sys/unix"

// layer is one namespace that the host may or may not grant.
type layer string

const (
	layerUser  layer = "user namespace"
	layerMount layer = "mount namespace"
	layerPID   layer = "pid namespace"
	layerNet   layer = "network namespace"
	layerIPC   layer = "ipc namespace"
	layerUTS   layer = "uts namespace"
)

// allLayers lists them in the order in which they are tried one by one: the first makes the others possible for those
// who are not root, and the third needs the second for a /proc of its own.
var allLayers = []struct {
	name layer
	flag uintptr
}{
	{layerUser, unix.CLONE_NEWUSER},
	{layerMount, unix.CLONE_NEWNS},
	{layerPID, unix.CLONE_NEWPID},
	{layerNet, unix.CLONE_NEWNET},
	{layerIPC, unix.CLONE_NEWIPC},
	{layerUTS, unix.CLONE_NEWUTS},
}

// layers is a set of namespaces, as clone flags.
type layers uintptr

func (l layers) has(name layer) bool { return l&only(name) != 0 }

func only(name layer) layers {
	for _, each := range allLayers {
		if each.name == name {
			return layers(each.flag)
		}
	}
	return 0
}

func everyLayer() (l layers) {
	for _, each := range allLayers {
		l |= layers(each.flag)
	}
	return l
}
