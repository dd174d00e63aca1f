package signs

import (
	"encoding/binary"
	"math"

	"github.com/lvrescue/lvrescue/metadata"
	"github.com/lvrescue/lvrescue/metadata/btree"
	"github.com/lvrescue/lvrescue/metadata/cache"
	"github.com/lvrescue/lvrescue/metadata/dmraid"
	"github.com/lvrescue/lvrescue/metadata/exstore"
	"github.com/lvrescue/lvrescue/metadata/integrity"
	"github.com/lvrescue/lvrescue/metadata/thin"
	"github.com/lvrescue/lvrescue/metadata/vdo"
	"github.com/lvrescue/lvrescue/metadata/writecache"
)

// Fields of an md superblock of version 1 (include/uapi/linux/raid/md_p.h).
const (
	mdOffMajor    = 4
	mdOffFeatures = 8
	mdOffUUID     = 16
	mdOffName     = 32
	mdOffLevel    = 72
	mdOffSize     = 80 // sectors of each member that the array uses
	mdOffChunk    = 88 // sectors
	mdOffDevices  = 92
	mdOffData     = 128 // sectors
	mdOffAt       = 144 // sectors
	mdOffNumber   = 160
	mdOffEvents   = 200
	mdOffResync   = 208 // sectors that are in sync; all ones when all are
	mdOffChecksum = 216
	mdOffMax      = 220
	mdOffRoles    = 256
	mdMaxRoles    = (4096 - mdOffRoles) / 2
	mdMaxSectors  = maxBytes >> 9

	mdRecovering = 2 // features
	mdReshaping  = 4
	mdBadBlocks  = 8
	mdReplaces   = 16
)

// md reads the superblock of a member of an md array: version 1 tells its place.
func md(b []byte) *Sign {
	u32 := func(at int) uint32 { return binary.LittleEndian.Uint32(b[at:]) }
	u64 := func(at int) uint64 { return binary.LittleEndian.Uint64(b[at:]) }
	switch {
	case u32(mdOffMajor) == 0:
		return md090(b)
	case u32(mdOffMajor) != 1 || u32(mdOffMax) > mdMaxRoles || len(b) < int(mdOffRoles+2*u32(mdOffMax)):
		return nil
	case u64(mdOffSize) > mdMaxSectors || u64(mdOffData) > mdMaxSectors || u64(mdOffAt) > mdMaxSectors || u32(mdOffDevices) > mdMaxRoles:
		return nil
	}
	s := &Sign{Format: "md", Start: int64(u64(mdOffAt)) << 9, Size: int64(u64(mdOffSize)) << 9, Block: int64(u32(mdOffChunk)) << 9,
		UUID: uuid(b[mdOffUUID:][:16]), Label: text(b[mdOffName:][:32])}
	s.Array = &Array{Level: int(int32(u32(mdOffLevel))), Devices: int(u32(mdOffDevices)), Position: -1, Data: int64(u64(mdOffData)) << 9, Events: u64(mdOffEvents)}
	if n := u32(mdOffNumber); n < u32(mdOffMax) {
		if role := binary.LittleEndian.Uint16(b[mdOffRoles+2*n:]); uint32(role) < u32(mdOffDevices) {
			s.Array.Position = int(role)
		}
	}
	for n := range int(u32(mdOffMax)) {
		if uint32(binary.LittleEndian.Uint16(b[mdOffRoles+2*n:])) < u32(mdOffDevices) {
			s.Array.Active++
		}
	}
	switch features := u32(mdOffFeatures); {
	case s.Array.Position < 0:
		s.Array.Unsure = "it is a spare, or has failed"
	case features&(mdRecovering|mdReplaces) != 0:
		s.Array.Unsure = "it was being rebuilt"
	case features&mdReshaping != 0:
		s.Array.Unsure = "the array was being reshaped"
	case features&mdBadBlocks != 0:
		s.Array.Unsure = "md has noted blocks of it that are bad"
	case u64(mdOffResync) != math.MaxUint64:
		s.Array.Unsure = "the array was not in sync, or is not stopped cleanly"
	}
	s.Checksum = state(u32(mdOffChecksum), mdSum(b[:mdOffRoles+2*u32(mdOffMax)], mdOffChecksum))
	return s
}

// Fields of an md superblock of version 0.90.
const (
	md090OffMinor    = 8
	md090OffUUID     = 20 // the first word of four; the others stand at 52
	md090OffUUIDRest = 52
	md090OffLevel    = 28
	md090OffSize     = 32 // KiB of each member
	md090OffDevices  = 40
	md090OffChecksum = 152
	md090OffEvents   = 156
	md090OffChunk    = 260
	md090OffState    = 132
	md090OffActive   = 136
	md090OffPosition = 3968 + 12
	md090OffOwn      = 3968 + 16 // state of this member

	md090Clean  = 1
	md090InSync = 1<<1 | 1<<2 // active, in sync
)

func md090(b []byte) *Sign {
	u32 := func(at int) uint32 { return binary.LittleEndian.Uint32(b[at:]) }
	if b = of4KiB(b); b == nil || u32(md090OffMinor) < 90 || u32(md090OffMinor) > 91 || u32(md090OffDevices) > 27 {
		return nil
	}
	id := append(append([]byte{}, b[md090OffUUID:][:4]...), b[md090OffUUIDRest:][:12]...)
	for at := 0; at < len(id); at += 4 { // words, as mdadm spells them
		binary.BigEndian.PutUint32(id[at:], binary.LittleEndian.Uint32(id[at:]))
	}
	s := &Sign{Format: "md", Start: Unknown, Size: int64(u32(md090OffSize)) << 10, Block: int64(u32(md090OffChunk)), UUID: uuid(id)}
	s.Array = &Array{Level: int(int32(u32(md090OffLevel))), Devices: int(u32(md090OffDevices)), Position: -1, Events: binary.LittleEndian.Uint64(b[md090OffEvents:])}
	if p := u32(md090OffPosition); p < u32(md090OffDevices) {
		s.Array.Position = int(p)
	}
	s.Array.Active = int(u32(md090OffActive) & 0xff)
	switch {
	case s.Array.Position < 0 || u32(md090OffOwn)&0x7 != md090InSync:
		s.Array.Unsure = "it is a spare, has failed, or was being rebuilt"
	case u32(md090OffState)&md090Clean == 0:
		s.Array.Unsure = "the array was not in sync, or is not stopped cleanly"
	case u32(md090OffMinor) != 90:
		s.Array.Unsure = "the array was being reshaped"
	}
	s.Checksum = state(u32(md090OffChecksum), mdSum(b, md090OffChecksum))
	return s
}

// mdSum is md's checksum: the sum of all words but the checksum itself (drivers/md/md.c).
func mdSum(b []byte, checksum int) uint32 {
	sum := uint64(0)
	for i := 0; i+4 <= len(b); i += 4 {
		if i != checksum {
			sum += uint64(binary.LittleEndian.Uint32(b[i:]))
		}
	}
	if len(b)%4 == 2 {
		sum += uint64(binary.LittleEndian.Uint16(b[len(b)-2:]))
	}
	return uint32(sum) + uint32(sum>>32)
}

func dmRaid(b []byte) *Sign {
	sb, _, err := dmraid.ReadSuperblock(b)
	if err != nil {
		return nil
	}
	return &Sign{Format: "dm-raid", Size: sb.ArraySize, Block: sb.Layout.Chunk,
		Array: &Array{Level: sb.Layout.Level, Devices: sb.Layout.Devices, Position: sb.Position, Data: sb.DataOffset, Events: sb.Events}}
}

func snapshot(b []byte) *Sign {
	h, err := exstore.ParseHeader(b)
	if err != nil || h.New {
		return nil
	}
	return &Sign{Format: "snapshot store", Block: h.ChunkSize}
}

func writeCache(b []byte) *Sign {
	sb, err := writecache.ParseSuperblock(b, math.MaxInt64)
	if err != nil || sb.Blocks > maxBytes/sb.BlockSize-1 {
		return nil
	}
	return &Sign{Format: "writecache", Block: sb.BlockSize, Size: sb.Blocks * sb.BlockSize}
}

// mirrorLog knows only a version and a number of regions.
func mirrorLog(b []byte) *Sign {
	if v := binary.LittleEndian.Uint32(b[4:]); v != 1 && v != 2 {
		return nil
	}
	return &Sign{Format: "mirror log"}
}

func integritySuper(b []byte) *Sign {
	sb, err := integrity.ParseSuperblock(b)
	if err != nil {
		return nil
	}
	return &Sign{Format: "integrity", Size: sb.DataSize, Block: sb.BlockSize}
}

func vdoGeometry(b []byte) *Sign {
	g, err := vdo.ParseGeometry(b)
	if err != nil {
		return nil
	}
	return &Sign{Format: "VDO", UUID: uuid(g.UUID[:]), Block: vdo.BlockSize, Checksum: metadata.ChecksumValid}
}

func thinPool(b []byte) *Sign {
	b = of4KiB(b)
	sb, err := thin.ParseSuperblock(b)
	if err != nil {
		return nil
	}
	size, _ := product(sb.DataBlocks, uint64(sb.ChunkSize))
	return &Sign{Format: "thin pool", Size: size, Block: sb.ChunkSize, Checksum: valid(btree.Check(b, btree.ThinSuperblock, 0))}
}

func dmCache(b []byte) *Sign {
	b = of4KiB(b)
	sb, err := cache.ParseSuperblock(b)
	if err != nil {
		return nil
	}
	size, _ := product(uint64(sb.Blocks), uint64(sb.ChunkSize))
	return &Sign{Format: "cache", Size: size, Block: sb.ChunkSize, Checksum: valid(btree.Check(b, btree.CacheSuperblock, 0))}
}
