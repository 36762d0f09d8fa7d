// SPDX-License-Identifier: MIT

package main

import "time"

// jsonSample is a line of -json. Rates are those of the interval, times in
// seconds.
type jsonSample struct {
	Time           time.Time `json:"time"`
	Device         string    `json:"device"`
	Dev            string    `json:"dev"`
	Interval       float64   `json:"interval"`
	Reads          uint64    `json:"reads"`
	ReadSectors    uint64    `json:"read_sectors"`
	Writes         uint64    `json:"writes"`
	WriteSectors   uint64    `json:"write_sectors"`
	InFlight       int       `json:"in_flight"`
	ReadsPerSec    float64   `json:"reads_per_second"`
	WritesPerSec   float64   `json:"writes_per_second"`
	ReadBytesPSec  float64   `json:"read_bytes_per_second"`
	WriteBytesPSec float64   `json:"write_bytes_per_second"`
	AverageSize    float64   `json:"average_bytes"`
	ReadWait       float64   `json:"read_wait"`
	WriteWait      float64   `json:"write_wait"`
	QueueLength    float64   `json:"queue_length"`
	Utilization    float64   `json:"utilization"`
}

func record(s sample) jsonSample {
	i := s.interval
	return jsonSample{
		Time: s.at.UTC(), Device: s.name.Unmangle(), Dev: s.dev.String(), Interval: i.Seconds(),
		Reads: s.Reads, ReadSectors: uint64(s.ReadSectors), Writes: s.Writes, WriteSectors: uint64(s.WriteSectors), InFlight: s.InFlight,
		ReadsPerSec: s.ReadsPerSecond(i), WritesPerSec: s.WritesPerSecond(i),
		ReadBytesPSec: s.ReadBytesPerSecond(i), WriteBytesPSec: s.WriteBytesPerSecond(i),
		AverageSize: s.AverageSize(), ReadWait: s.ReadWait().Seconds(), WriteWait: s.WriteWait().Seconds(),
		QueueLength: s.QueueLength(i), Utilization: s.Utilization(i),
	}
}
