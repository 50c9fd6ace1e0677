package agent

import "golang.org/x/sys/unix"

// waitingCalls are those that wait for any of several files.
func waitingCalls() []int {
	return []int{
		unix.SYS_PPOLL, unix.SYS_PSELECT6, unix.SYS_EPOLL_PWAIT, unix.SYS_EPOLL_PWAIT2,
		unix.SYS_IO_URING_ENTER,
		unix.SYS_SENDFILE, unix.SYS_COPY_FILE_RANGE,
	}
}
