// SPDX-License-Identifier: MIT

package dmtest

// Targets are the models that a new Kernel with the given interface version
// has. Those in dm-mod itself (error, linear, striped) are there from the
// start, the others as modules to be loaded.
func Targets(major, minor uint32) []Target {
	newer := major > 4 || minor >= 48
	return []Target{
		errorTarget(newer),
		linearTarget(),
		stripedTarget(),
		snapshotTarget(),
		snapshotOriginTarget(),
		snapshotMergeTarget(),
		zeroTarget(newer),
		delayTarget(newer),
		flakeyTarget(newer),
		mirrorTarget(minor),
		multipathTarget(minor),
		switchTarget(),
		unstripedTarget(),
		logWritesTarget(),
		zonedTarget(),
		ebsTarget(),
		dustTarget(),
		thinTarget(newer),
		thinPoolTarget(newer),
		cacheTarget(),
		writecacheTarget(major == 4 && minor < 45),
		eraTarget(),
		cloneTarget(),
		cryptTarget(minor),
		integrityTarget(minor),
		verityTarget(minor),
	}
}
