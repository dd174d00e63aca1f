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

func TestProgressTellsAtEveryInterval(t *testing.T) {
	var out bytes.Buffer
	p := &Progress{w: &out, name: "vg0/home", total: 100, start: time.Now(),
		stop: make(chan struct{}), stopped: make(chan struct{})}
	p.Set(50)
	go p.tell(time.Millisecond)
	time.Sleep(50 * time.Millisecond)
	p.Close()
	require.Contains(t, out.String(), "lvrescue: vg0/home: 50b of 100b (50%), ")
}

func TestProgressIsQuietAtFirst(t *testing.T) {
	var out bytes.Buffer
	p := NewProgress(&out, "vg0/home", 100)
	p.Set(100)
	p.Close()
	require.Empty(t, out.String())
}
