// Package dmraid reads what the kernel's RAID target keeps on the metadata LV of each leg
// (VG/LV_rmeta_N): a superblock at byte 0 and a write-intent bitmap at byte 4096. It also
// knows the layouts, that is on which device each chunk of an array lies.
//
//	rmeta:  0            148        4096            4352
//	        | superblock | zeros  | bitmap header | one bit a region |
//
// Superblock (drivers/md/dm-raid.c, struct dm_raid_superblock), little-endian:
//
//	  0 u32 magic "DmRd"       4 u32 compat_features    8 u32 num_devices
//	 12 u32 array_position    16 u64 events            24 u64 failed_devices
//	 32 u64 disk_recovery_offset                       40 u64 array_resync_offset
//	 48 u32 level             52 u32 layout            56 u32 stripe_sectors
//	and, if compat_features is 1:
//	 60 u32 flags             64 u64 reshape_position  72 u32 new_level
//	 76 u32 new_layout        80 u32 new_stripe_sectors
//	 84 s32 delta_disks       88 u64 array_sectors     96 u64 data_offset
//	104 u64 new_data_offset  112 u64 sectors          120 u64 extended_failed_devices[3]
//	144 u32 incompat_features
//
// Bitmap header (drivers/md/md-bitmap.h, struct bitmap_super_s), little-endian:
//
//	  0 u32 magic "bitm"       4 u32 version            8     uuid[16], zero here
//	 24 u64 events            32 u64 events_cleared    40 u64 sync_size
//	 48 u32 state             52 u32 chunksize in bytes
//	256     bits, the lowest of each byte first; 1 is a region with writes under way
//
// Nothing of this has a checksum: that the legs agree is the only proof there is. Offsets
// on disk are sectors of 512 bytes; here all are bytes.
package dmraid
