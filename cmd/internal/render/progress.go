package render

import (
	"fmt"
	"io"
	"os"
	"sync/atomic"
	"time"

	"github.com/vbauerster/mpb/v8"
	"github.com/vbauerster/mpb/v8/decor"
	"golang.org/x/term"
)

// plainEvery is how often progress is told where there is no terminal to draw on.
const plainEvery = 10 * time.Second

// Progress shows how far a piece of work of known size has come, with rate and time left:
// a bar on a terminal, else a line every ten seconds.
type Progress struct {
	w     io.Writer
	name  string
	total int64 // bytes
	done  atomic.Int64
	note  atomic.Pointer[string]
	start time.Time

	bars *mpb.Progress
	bar  *mpb.Bar

	stop, stopped chan struct{}
}

// NewProgress starts to show progress on w. total is in bytes.
func NewProgress(w io.Writer, name string, total int64) *Progress {
	p := &Progress{w: w, name: Printable(name), total: total, start: time.Now()}
	if f, ok := w.(*os.File); ok && term.IsTerminal(int(f.Fd())) {
		p.draw()
	} else {
		p.stop, p.stopped = make(chan struct{}), make(chan struct{})
		go p.tell(plainEvery)
	}
	return p
}

func (p *Progress) draw() {
	p.bars = mpb.New(mpb.WithOutput(p.w), mpb.WithWidth(Width-20))
	p.bar = p.bars.New(p.total, mpb.BarStyle().Lbound("[").Filler("=").Tip(">").Padding(" ").Rbound("]"),
		mpb.PrependDecorators(decor.Name(p.name+" "), decor.Percentage(decor.WC{W: 4})),
		mpb.AppendDecorators(
			decor.AverageSpeed(decor.SizeB1024(0), " %.1f"),
			decor.AverageETA(decor.ET_STYLE_GO, decor.WC{W: 8}), decor.Name(" left"),
			decor.Any(func(decor.Statistics) string { return p.remark() })))
}

// tell writes a line at every interval until it is stopped.
func (p *Progress) tell(every time.Duration) {
	defer close(p.stopped)
	tick := time.NewTicker(every)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
			fmt.Fprintln(p.w, "lvrescue: "+p.line(time.Since(p.start)))
		case <-p.stop:
			return
		}
	}
}

// line is the progress in words, after a time.
func (p *Progress) line(elapsed time.Duration) string {
	done := p.done.Load()
	rate := float64(done) / max(elapsed.Seconds(), 0.001)
	s := fmt.Sprintf("%s: %s of %s", p.name, Human.Size(done), Human.Size(p.total))
	if p.total > 0 {
		s += fmt.Sprintf(" (%d%%)", int(100*float64(done)/float64(p.total)))
	}
	if rate >= 1 {
		left := time.Duration(float64(p.total-done) / rate * float64(time.Second))
		s += fmt.Sprintf(", %s/s, %v left", Human.Size(int64(rate)), left.Round(time.Second))
	}
	return s + p.remark()
}

// Note shows a few words behind the figures.
func (p *Progress) Note(words string) { p.note.Store(&words) }

// remark is what was noted, as the end of a line.
func (p *Progress) remark() string {
	if words := p.note.Load(); words != nil {
		return ", " + Printable(*words)
	}
	return ""
}

// Set tells how many bytes are done.
func (p *Progress) Set(done int64) {
	p.done.Store(done)
	if p.bar != nil {
		p.bar.SetCurrent(done)
	}
}

// Close ends the display. A bar stays as it was last.
func (p *Progress) Close() {
	if p.bar != nil {
		p.bar.Abort(false)
		p.bars.Wait()
		return
	}
	close(p.stop)
	<-p.stopped
}
