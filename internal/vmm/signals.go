package vmm

import "golang.org/x/sys/unix"

// Deafen blocks, in this thread and in what it starts from now on, the signals by which somebody asks all
// processes of a job to end: a batch system, or systemd, reaches the VMM with them as it reaches everybody,
// and the guest would be gone before the command in it was told. A VMM is ended by its parent, and by
// SIGKILL, which cannot be blocked. The caller has locked the thread; restore undoes it.
func Deafen() (restore func(), err error) {
	var deaf, before unix.Sigset_t
	for _, number := range []unix.Signal{unix.SIGHUP, unix.SIGINT, unix.SIGTERM} {
		deaf.Val[(number-1)/64] |= 1 << ((number - 1) % 64)
	}
	if err := unix.PthreadSigmask(unix.SIG_BLOCK, &deaf, &before); err != nil {
		return nil, err
	}
	return func() { _ = unix.PthreadSigmask(unix.SIG_SETMASK, &before, nil) }, nil
}
