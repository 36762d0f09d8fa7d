// SPDX-License-Identifier: MIT

package dm

// The messages to a thin-pool (pool_message in drivers/md/dm-thin.c). Each is
// committed to the metadata before it returns. A pool that is read-only or
// has failed refuses all of them with EOPNOTSUPP.

// CreateThin makes an empty volume. The error matches fs.ErrExist when the
// pool has one with that id.
type CreateThin struct{ ID uint32 }

// CreateSnap makes a volume that shares all blocks with the origin, which is
// another volume of the pool; both can be written to and deleted afterwards.
// A device that maps the origin must be suspended meanwhile. The error matches
// fs.ErrExist when the id is taken, and fs.ErrNotExist when the pool does not
// have the origin.
type CreateSnap struct{ ID, Origin uint32 }

// DeleteThin deletes a volume and frees the blocks that only it has. The
// error matches fs.ErrNotExist when the pool has no such volume, and ErrBusy
// when a table, live or not, maps it.
type DeleteThin struct{ ID uint32 }

// SetTransactionID changes the number in which a volume manager notes what
// state the pool is in. It is refused with EINVAL unless the pool has the old
// one.
type SetTransactionID struct{ Old, New uint64 }

// ReserveMetadataSnap keeps the metadata as they are now, for thin_dump and
// thin_delta to read while the pool runs. [ThinPoolStatus] has the block. The
// error matches ErrBusy when there is such a snapshot.
type ReserveMetadataSnap struct{}

// ReleaseMetadataSnap lets go of the metadata that ReserveMetadataSnap kept;
// EINVAL when there are none.
type ReleaseMetadataSnap struct{}

// TargetType is "thin-pool".
func (CreateThin) TargetType() string { return "thin-pool" }

// TargetType is "thin-pool".
func (CreateSnap) TargetType() string { return "thin-pool" }

// TargetType is "thin-pool".
func (DeleteThin) TargetType() string { return "thin-pool" }

// TargetType is "thin-pool".
func (SetTransactionID) TargetType() string { return "thin-pool" }

// TargetType is "thin-pool".
func (ReserveMetadataSnap) TargetType() string { return "thin-pool" }

// TargetType is "thin-pool".
func (ReleaseMetadataSnap) TargetType() string { return "thin-pool" }

// Text is "create_thin id".
func (m CreateThin) Text() string { return "create_thin " + num(m.ID) }

// Text is "create_snap id origin".
func (m CreateSnap) Text() string { return "create_snap " + num(m.ID) + " " + num(m.Origin) }

// Text is "delete id".
func (m DeleteThin) Text() string { return "delete " + num(m.ID) }

// Text is "set_transaction_id old new".
func (m SetTransactionID) Text() string {
	return "set_transaction_id " + num(m.Old) + " " + num(m.New)
}

// Text is "reserve_metadata_snap".
func (ReserveMetadataSnap) Text() string { return "reserve_metadata_snap" }

// Text is "release_metadata_snap".
func (ReleaseMetadataSnap) Text() string { return "release_metadata_snap" }

// Validate checks the id.
func (m CreateThin) Validate() error { return checkThinIDs(m.ID) }

// Validate checks the ids. That the id is the origin's own is for the kernel
// to refuse: it is taken then.
func (m CreateSnap) Validate() error { return checkThinIDs(m.ID, m.Origin) }

// Validate checks the id.
func (m DeleteThin) Validate() error { return checkThinIDs(m.ID) }

// Validate accepts all.
func (SetTransactionID) Validate() error { return nil }

// Validate accepts it.
func (ReserveMetadataSnap) Validate() error { return nil }

// Validate accepts it.
func (ReleaseMetadataSnap) Validate() error { return nil }

func checkThinIDs(ids ...uint32) error {
	for _, id := range ids {
		if id > maxThinID {
			return badThinID(id)
		}
	}
	return nil
}
