package wire

import "testing"

func BenchmarkThroughput(b *testing.B) {
	for _, dir := range []string{"to the answering side", "to the asking side"} {
		b.Run(dir, func(b *testing.B) {
			ask, answer := pair(b, Options{})
			from, to := streams(b, ask, answer)
			if dir == "to the asking side" {
				from, to = to, from
			}
			data := make([]byte, 64<<10)
			b.SetBytes(int64(len(data)))
			go func() {
				for {
					if _, err := to.Recv(); err != nil {
						return
					}
				}
			}()
			for b.Loop() {
				if err := from.Send(2, data); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func BenchmarkRoundTrip(b *testing.B) {
	ask, answer := pair(b, Options{})
	host, guest := streams(b, ask, answer)
	go func() {
		for {
			m, err := guest.Recv()
			if err != nil {
				return
			}
			guest.Send(m.Kind, m.Data)
		}
	}()
	for b.Loop() {
		host.Send(2, []byte("x"))
		if _, err := host.Recv(); err != nil {
			b.Fatal(err)
		}
	}
}
