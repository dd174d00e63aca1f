package metadata

// slab hands out values from larger and larger pieces, so that a tree of many small values
// costs few allocations.
type slab[T any] struct {
	free []T
	size int // of the last piece
}

const (
	slabMin = 4
	slabMax = 4096
)

// one gives a new value.
func (s *slab[T]) one() *T { return &s.take(1)[0] }

// take gives n new values that lie side by side and cannot be appended to in place.
func (s *slab[T]) take(n int) []T {
	if n > len(s.free) {
		s.size = min(max(2*s.size, slabMin), slabMax)
		s.free = make([]T, max(n, s.size))
	}
	taken := s.free[:n:n]
	s.free = s.free[n:]
	return taken
}
