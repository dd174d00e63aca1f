package nbd

import (
	"bytes"
	"context"
	"io"
	"net"
	"testing"
	"time"
)

// FuzzServer lets the server talk to a client that sends any bytes at all: it must neither
// fail nor hang, nor take more memory than it promises.
func FuzzServer(f *testing.F) {
	flags := be.AppendUint32(nil, flagFixedNewstyle|flagNoZeroes)
	start := bytes.Join([][]byte{flags, optionOf(optStructuredReply, nil),
		optionOf(optSetMetaContext, queries("lv", "base:allocation", "lvrescue:damage"))}, nil)
	transmit := append(start[:len(start):len(start)], optionOf(optGo, named("lv", 0, 1, 0, 3))...)
	disc := requestOf(cmdDisc, 0, 0, 0, 0)
	for _, seed := range [][]byte{
		nil, flags, start,
		append(flags[:4:4], optionOf(optList, nil)...),
		append(flags[:4:4], optionOf(optExportName, []byte("lv"))...),
		append(start[:len(start):len(start)], optionOf(optAbort, nil)...),
		append(start[:len(start):len(start)], optionOf(optListMetaContext, queries("lv", "base:"))...),
		bytes.Join([][]byte{transmit, requestOf(cmdRead, 0, 1, mib-512, 4096), requestOf(cmdBlockStatus, 0, 2, 0, 3*mib), disc}, nil),
		bytes.Join([][]byte{transmit, requestOf(cmdWrite, cmdFlagFUA, 3, 0, 4), []byte("data"), requestOf(cmdTrim, 0, 4, 0, 512), requestOf(cmdFlush, 0, 5, 0, 0)}, nil),
		bytes.Join([][]byte{transmit, requestOf(cmdWrite, 0, 3, 0, maxRequest), []byte("too little")}, nil),
		bytes.Join([][]byte{transmit, requestOf(cmdWriteZeroes, cmdFlagNoHole, 3, 0, 1<<32-1), disc}, nil),
	} {
		f.Add(seed, false)
		f.Add(seed, true)
	}
	dev, _, _ := damaged()
	f.Fuzz(func(t *testing.T, sent []byte, writable bool) {
		e := Export{Name: "lv", Dev: dev}
		if writable {
			e.Writer = sink{}
		}
		s, err := NewServer([]Export{e})
		if err != nil {
			t.Fatal(err)
		}
		ours, theirs := net.Pipe()
		go func() {
			theirs.Write(sent)
			time.Sleep(time.Millisecond)
			theirs.Close()
		}()
		go io.Copy(io.Discard, theirs)
		done := make(chan struct{})
		go func() {
			s.ServeConn(context.Background(), ours)
			close(done)
		}()
		select {
		case <-done:
		case <-time.After(stall / 2):
			t.Fatal("the server waits for a client that has gone")
		}
		if !s.memory.TryAcquire(maxMemory) {
			t.Fatal("memory was not given back")
		}
	})
}

// sink takes all that is written.
type sink struct{}

func (sink) WriteAt(p []byte, _ int64) (int, error) { return len(p), nil }
func (sink) Zero(int64, int64) error                { return nil }
func (sink) Discard(int64, int64) error             { return nil }
func (sink) Sync() error                            { return nil }
