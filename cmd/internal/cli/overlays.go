package cli

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/lvrescue/lvrescue/activate/nbd"
	"github.com/lvrescue/lvrescue/activate/overlay"
	"github.com/lvrescue/lvrescue/activate/volume"
	"github.com/lvrescue/lvrescue/scan/block"
)

// overlays are the overlays of a server, one an export.
type overlays []*overlay.Overlay

// openOverlays puts an overlay over each export, in dir, and lets clients write to it.
func (a *app) openOverlays(dir string, lvs []*assessed, exports []nbd.Export, keep []block.Identity) (all overlays, err error) {
	defer func() {
		if err != nil {
			all.close()
		}
	}()
	for i := range exports {
		s := lvs[i]
		sub, name := filepath.Split(exports[i].Name)
		path := filepath.Join(dir, sub)
		if err := os.MkdirAll(path, 0o777); err != nil {
			return all, err
		}
		if err := onNoSource(path, keep); err != nil {
			return all, err
		}
		data, written := overlay.Files(path, name)
		for _, file := range []string{data, written} {
			if err := notSource(file, keep); err != nil {
				return all, err
			}
		}
		o, err := overlay.Open(path, name, volume.Fingerprint(s.plan), s.dev)
		var other *overlay.OtherError
		if errors.As(err, &other) {
			return all, hinted(err, "the metadata, the sources or their mapfiles have changed since; choose another directory, or use them as they were")
		}
		if err != nil {
			return all, err
		}
		all = append(all, o)
		exports[i].Dev, exports[i].Writer = o, o
	}
	return all, nil
}

// close brings everything to the disk.
func (all overlays) close() error {
	var errs []error
	for _, o := range all {
		errs = append(errs, o.Close())
	}
	return errors.Join(errs...)
}

// used is how many bytes the overlays take up.
func (all overlays) used() (bytes int64) {
	for _, o := range all {
		if n, _, _, err := o.Space(); err == nil {
			bytes += n
		}
	}
	return bytes
}

// watch warns when the room for overlays runs short: once at a tenth of the filesystem, or
// 1 GiB, and then each time that half of what was left has gone.
func (a *app) watch(ctx context.Context, all overlays, dir string) error {
	if len(all) == 0 {
		return nil
	}
	const most = 1 << 30
	limit := int64(-1)
	for tick := time.NewTicker(2 * time.Second); ; {
		_, size, free, err := all[0].Space()
		if err != nil {
			return nil // the system does not tell
		}
		if limit < 0 {
			limit = min(most, size/10)
		}
		if free < limit {
			limit = free / 2
			say(a.err, "warning: ", fmt.Sprintf("%s is running full: %s are left, and the overlays take up %s; when nothing is left, writes fail", dir, a.size(free), a.size(all.used())))
		}
		select {
		case <-ctx.Done():
			tick.Stop()
			return nil
		case <-tick.C:
		}
	}
}
