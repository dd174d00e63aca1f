package metadata

import (
	"errors"
	"fmt"
	"strings"
)

// idLen is the length of a UUID without dashes, in characters (lib/uuid/uuid.h, ID_LEN).
const idLen = 32

// idAlphabet holds the characters of a UUID; lvm2 makes none with the last two, which LVM1
// did not know (lib/id/id.c).
const idAlphabet = "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ!#"

// ID is the UUID of a VG, PV or LV: 32 characters, without dashes. The zero ID is none.
type ID string

// errIDLength reports a UUID of another length than 32 characters.
var errIDLength = errors.New("a UUID has 32 characters besides dashes")

// ParseID reads a UUID with or without dashes. Like lvm2 it takes dashes anywhere.
func ParseID(s string) (ID, error) {
	var id [idLen]byte
	n := 0
	for i := 0; i < len(s); i++ {
		c := s[i]
		switch {
		case c == '-':
			continue
		case !isIDChar(c):
			return "", fmt.Errorf("UUID %q: character %q cannot be in a UUID", shorten(s), c)
		case n == idLen:
			return "", fmt.Errorf("UUID %q: %w, this has more", shorten(s), errIDLength)
		}
		id[n] = c
		n++
	}
	if n < idLen {
		return "", fmt.Errorf("UUID %q: %w, this has %d", shorten(s), errIDLength, n)
	}
	return ID(id[:]), nil
}

// Valid tells whether id is 32 characters of the alphabet of UUIDs.
func (id ID) Valid() bool {
	for i := 0; i < len(id); i++ {
		if !isIDChar(id[i]) {
			return false
		}
	}
	return len(id) == idLen
}

// String gives the form with dashes, 6-4-4-4-4-4-6. An ID that is no UUID, and one that
// begins with '#', which lvm2 writes without dashes, comes back as it is.
func (id ID) String() string {
	if len(id) != idLen || id[0] == '#' {
		return string(id)
	}
	s := string(id)
	return strings.Join([]string{s[:6], s[6:10], s[10:14], s[14:18], s[18:22], s[22:26], s[26:]}, "-")
}

func isIDChar(c byte) bool { return idChars[c] }

var idChars = func() (set [256]bool) {
	for _, c := range []byte(idAlphabet) {
		set[c] = true
	}
	return set
}()

// shorten cuts text that comes from a disk to a length fit for a message.
func shorten(s string) string {
	const most = 60
	if len(s) <= most {
		return s
	}
	return s[:most] + "…"
}
