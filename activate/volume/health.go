package volume

import (
	"github.com/lvrescue/lvrescue/activate"
	"github.com/lvrescue/lvrescue/scan/block"
)

// Health is what an LV is worth, in one word.
type Health string

const (
	Complete Health = "complete" // all of it can be read
	Degraded Health = "degraded" // all of it can be read; redundancy is gone
	Partial  Health = "partial"  // some of it is lost
	Doubt    Health = "doubtful" // all can be read, some from evidence that conflicts
	Lost     Health = "lost"     // nothing of it can be read
)

// Assess sums up what is known of a planned LV, redundancy included.
func Assess(p *activate.Plan, t *block.Totals) Health {
	h := Judge(t)
	if h == Complete && p.Degraded() {
		return Degraded
	}
	return h
}

// Judge sums up what is known of a device.
func Judge(t *block.Totals) Health {
	switch {
	case t.Bad > 0 && t.Bad == t.Size():
		return Lost
	case t.Bad > 0:
		return Partial
	case t.Doubtful > 0:
		return Doubt
	}
	return Complete
}
