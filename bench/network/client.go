package main

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// mode is one measure.
type mode struct {
	label, unit, word string
	workers           int
}

// modes lists the measures, in the order of the table.
func modes() []mode {
	return []mode{
		{"TCP, guest to host", "MB/s", "send", 1},
		{"TCP, host to guest", "MB/s", "receive", 1},
		{"round trips, 1 connection", "1/s", "echo", 1},
		{"HTTP, kept alive, 1 at a time", "1/s", "keep", 1},
		{"HTTP, kept alive, 16 at a time", "1/s", "keep", 16},
		{"HTTP, new connections, 1 at a time", "1/s", "new", 1},
		{"HTTP, new connections, 16 at a time", "1/s", "new", 16},
	}
}

// words are the client's command line for a mode.
func (m mode) words(host, ports string, seconds float64) []string {
	return []string{clientCommand, m.word, host, ports, fmt.Sprint(seconds), fmt.Sprint(m.workers)}
}

// target is where a client finds the servers.
type target struct {
	host  string
	ports []string
}

func (t target) address(port int) string { return net.JoinHostPort(t.host, t.ports[port]) }

// client does one measure and prints its figure, or holds connections open until its input ends.
func client(words []string) error {
	if len(words) != 5 {
		return errors.New("want MODE HOST PORTS SECONDS WORKERS")
	}
	to := target{words[1], strings.Split(words[2], ",")}
	seconds, err := strconv.ParseFloat(words[3], 64)
	workers, err2 := strconv.Atoi(words[4])
	if err := errors.Join(err, err2); err != nil || len(to.ports) != portCount {
		return fmt.Errorf("cannot read %q: %w", words, err)
	}
	span := time.Duration(seconds * float64(time.Second))
	var figure float64
	switch words[0] {
	case "send":
		figure, err = send(to, span)
	case "receive":
		figure, err = receive(to, span)
	case "echo":
		figure, err = echo(to, span)
	case "keep", "new":
		figure, err = requests(to, span, workers, words[0] == "keep")
	case "hold":
		return hold(to, workers)
	default:
		err = fmt.Errorf("unknown mode %q", words[0])
	}
	if err == nil {
		fmt.Printf("%.3f\n", figure)
	}
	return err
}

func readFigure(out string) (float64, error) { return strconv.ParseFloat(strings.TrimSpace(out), 64) }

// rate is bytes in a time, in MB/s.
func rate(n int64, began time.Time) float64 { return float64(n) / 1e6 / time.Since(began).Seconds() }

func send(to target, span time.Duration) (float64, error) {
	c, err := net.Dial("tcp4", to.address(portSink))
	if err != nil {
		return 0, err
	}
	defer c.Close()
	block := make([]byte, 256<<10)
	began := time.Now()
	for time.Since(began) < span {
		if _, err := c.Write(block); err != nil {
			return 0, err
		}
	}
	if err := c.(*net.TCPConn).CloseWrite(); err != nil {
		return 0, err
	}
	// What counts is what has arrived.
	line, err := bufio.NewReader(c).ReadString('\n')
	if err != nil {
		return 0, err
	}
	n, err := strconv.ParseInt(strings.TrimSpace(line), 10, 64)
	return rate(n, began), err
}

func receive(to target, span time.Duration) (float64, error) {
	c, err := net.Dial("tcp4", to.address(portSource))
	if err != nil {
		return 0, err
	}
	defer c.Close()
	block, total, began := make([]byte, 256<<10), int64(0), time.Now()
	for time.Since(began) < span {
		n, err := c.Read(block)
		total += int64(n)
		if err != nil {
			return 0, err
		}
	}
	return rate(total, began), nil
}

func echo(to target, span time.Duration) (float64, error) {
	c, err := net.Dial("tcp4", to.address(portEcho))
	if err != nil {
		return 0, err
	}
	defer c.Close()
	one, n, began := []byte{1}, 0, time.Now()
	for ; time.Since(began) < span; n++ {
		if _, err := c.Write(one); err != nil {
			return 0, err
		}
		if _, err := io.ReadFull(c, one); err != nil {
			return 0, err
		}
	}
	return float64(n) / time.Since(began).Seconds(), nil
}

func requests(to target, span time.Duration, workers int, keep bool) (float64, error) {
	web := &http.Client{Transport: &http.Transport{DisableKeepAlives: !keep, MaxIdleConnsPerHost: workers}}
	var done atomic.Int64
	var all sync.WaitGroup
	failed := make(chan error, workers)
	began := time.Now()
	for range workers {
		all.Go(func() {
			for time.Since(began) < span {
				r, err := web.Get("http://" + to.address(portHTTP) + "/")
				if err != nil {
					failed <- err
					return
				}
				_, err = io.Copy(io.Discard, r.Body)
				r.Body.Close()
				if err != nil {
					failed <- err
					return
				}
				done.Add(1)
			}
		})
	}
	all.Wait()
	select {
	case err := <-failed:
		return 0, err
	default:
		return float64(done.Load()) / time.Since(began).Seconds(), nil
	}
}

// hold opens connections, moves a byte over each, says so and waits for the end of its input.
func hold(to target, connections int) error {
	one := []byte{1}
	for range connections {
		c, err := net.Dial("tcp4", to.address(portEcho))
		if err != nil {
			return err
		}
		defer c.Close()
		if _, err := c.Write(one); err != nil {
			return err
		}
		if _, err := io.ReadFull(c, one); err != nil {
			return err
		}
	}
	fmt.Println("open")
	_, err := io.Copy(io.Discard, os.Stdin)
	return err
}
