// SPDX-License-Identifier: MIT

package dm_test

import (
	"slices"
	"testing"
)

// conformanceCase is what the double and every kernel must do alike.
type conformanceCase struct {
	name string
	run  func(*testing.T, *env)
}

// udevCases are about what waits for udev, or could.
var udevCases = []conformanceCase{
	{"CreateAndRemove", testCreateAndRemove},
	{"NamesAndUUIDs", testNamesAndUUIDs},
	{"BadTables", testBadTables},
	{"KernelsReason", testKernelsReason},
	{"Slots", testSlots},
	{"Reload", testReload},
	{"ReloadRefused", testReloadRefused},
	{"SelfReference", testSelfReference},
	{"SuspendResume", testSuspendResume},
	{"WhileSuspended", testWhileSuspended},
	{"Busy", testBusy},
	{"ForceAndWipe", testForceAndWipe},
	{"Rename", testRename},
	{"BigTable", testBigTable},
	{"LongList", testLongList},
	{"Targets", testTargets},
	{"TableRoundTrip", testTableRoundTrip},
	{"Messages", testMessages},
	{"Events", testEvents},
	{"WaitEvent", testWaitEvent},
	{"ReadOnly", testReadOnly},
	{"Minor", testMinor},
	{"Geometry", testGeometry},
	{"Concurrent", testConcurrent},
	{"Cancelled", testCancelled},
	{"Closed", testClosed},
	{"Batch", testBatch},
	{"BatchFails", testBatchFails},
	{"BatchAllOrNothing", testBatchAllOrNothing},
	{"BatchRefused", testBatchRefused},
}

// otherCases have nothing to do with udev.
var otherCases = []conformanceCase{
	{"ReloadFailsLate", testReloadFailsLate},
	{"StatusReader", testStatusReader},
	{"BatchMany", testBatchMany},
	{"Graph", testGraph},
	{"GraphRing", testGraphRing},
	{"Stats", testStats},
	{"StatsRegions", testStatsRegions},
	{"StatsSplit", testStatsSplit},
	{"StatsTime", testStatsTime},
	{"StatsLossless", testStatsLossless},
	{"Snapshot", testSnapshot},
	{"Thin", testThin},
	{"ThinMessages", testThinMessages},
	{"ThinExternalOrigin", testThinExternalOrigin},
	{"ThinQueue", testThinQueue},
	{"ThinNoSpace", testThinNoSpace},
	{"ThinTimeout", testThinTimeout},
	{"ThinNoFlush", testThinNoFlush},
	{"ThinDiscard", testThinDiscard},
	{"ThinMetadata", testThinMetadata},
	{"ThinMetadataFull", testThinMetadataFull},
	{"ThinTables", testThinTables},
	{"Mirror", testMirror},
	{"MirrorHoldsWrites", testMirrorHoldsWrites},
	{"MirrorDiskLog", testMirrorDiskLog},
	{"Multipath", testMultipath},
	{"MultipathQueues", testMultipathQueues},
	{"ProbePaths", testProbePaths},
	{"MultiTables", testMultiTables},
	{"RecordedMulti", testRecordedMulti},
	{"Switch", testSwitch},
	{"Unstriped", testUnstriped},
	{"LogWrites", testLogWrites},
	{"Cache", testCache},
	{"CacheModes", testCacheModes},
	{"CacheDirtyPassthrough", testCacheDirtyPassthrough},
	{"CacheFails", testCacheFails},
	{"CacheRoundTrip", testCacheRoundTrip},
	{"Writecache", testWritecache},
	{"Era", testEra},
	{"Clone", testClone},
	{"CryptTables", testCryptTables},
	{"CryptIO", testCryptIO},
	{"CryptKey", testCryptKey},
	{"Integrity", testIntegrity},
	{"IntegrityTables", testIntegrityTables},
	{"IntegrityCorruption", testIntegrityCorruption},
	{"IntegrityRecalculate", testIntegrityRecalculate},
	{"VerityTables", testVerityTables},
	{"Verity", testVerity},
}

func allCases() []conformanceCase { return slices.Concat(udevCases, otherCases) }
