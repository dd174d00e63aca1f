package render

import (
	"bytes"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestProgressLine(t *testing.T) {
	p := &Progress{name: "vg0/home", total: 4 << 30}
	require.Equal(t, "vg0/home: 0 of 4.00g (0%)", p.line(time.Second))
	p.Set(1 << 30)
	require.Equal(t, "vg0/home: 1.00g of 4.00g (25%), <102.40m/s, 30s left", p.line(10*time.Second))
}

// lines is a writer that hands on what is written.
type lines chan string

func (l lines) Write(p []byte) (int, error) {
	l <- string(p)
	return len(p), nil
}

func TestProgressTellsAtEveryInterval(t *testing.T) {
	out := make(lines)
	p := &Progress{w: out, name: "vg0/home", total: 100, start: time.Now(),
		stop: make(chan struct{}), stopped: make(chan struct{})}
	p.Set(50)
	go p.tell(time.Millisecond)
	for range 2 {
		require.Contains(t, <-out, "lvrescue: vg0/home: 50b of 100b (50%), ")
	}
	go func() { // it may be about to tell once more
		for range out {
		}
	}()
	p.Close()
	close(out)
}

func TestProgressIsQuietAtFirst(t *testing.T) {
	var out bytes.Buffer
	p := &Progress{w: &out, name: "vg0/home", total: 100, start: time.Now(),
		stop: make(chan struct{}), stopped: make(chan struct{})}
	p.Set(100)
	go p.tell(time.Hour)
	p.Close()
	require.Empty(t, out.String())
}
