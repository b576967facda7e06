//! The published formulas between cgroup v1's weights and v2's.

/// cpu.weight from cpu.shares as runc (1.3.2) and crun (1.23) have it: quadratic in the logarithms, so
/// that least (2, 1), default (1024, 100) and most (262144, 10000) meet.
pub fn weight_of_shares(shares: u64) -> u64 {
    match shares {
        0..=2 => 1,
        262_144.. => 10_000,
        _ => {
            let l = (shares as f64).log2();
            10f64.powf((l * l + 125.0 * l) / 612.0 - 7.0 / 34.0).ceil() as u64
        }
    }
}

/// The inverse of [`weight_of_shares`]: the most shares that give this weight.
pub fn shares_of_weight(weight: u64) -> u64 {
    let c = 612.0 * ((weight.clamp(1, 10_000) as f64).log10() + 7.0 / 34.0);
    let l = ((125.0f64 * 125.0 + 4.0 * c).sqrt() - 125.0) / 2.0;
    let mut shares = (l.exp2().round() as u64).clamp(2, 262_144);
    // Rounding may have gone up, across the ceiling of the other direction.
    while shares > 2 && weight_of_shares(shares) > weight {
        shares -= 1;
    }
    shares
}

/// blkio.weight (10 to 1000) from io.weight (1 to 10000), as runc and crun convert, inverted.
pub fn blkio_of_weight(weight: u64) -> u64 {
    10 + (weight.clamp(1, 10_000) - 1) * 990 / 9_999
}

/// io.weight from blkio.weight, as runc and crun convert.
pub fn weight_of_blkio(blkio: u64) -> u64 {
    1 + (blkio.clamp(10, 1_000) - 10) * 9_999 / 990
}

/// blkio.bfq.weight (1 to 1000) from io.weight, as systemd converts: both begin with 100.
pub fn bfq_of_weight(weight: u64) -> u64 {
    let weight = weight.clamp(1, 10_000);
    if weight <= 100 { weight } else { 100 + (weight - 100) * 900 / 9_900 }
}

/// io.weight from blkio.bfq.weight.
pub fn weight_of_bfq(bfq: u64) -> u64 {
    let bfq = bfq.clamp(1, 1_000);
    if bfq <= 100 { bfq } else { 100 + (bfq - 100) * 9_900 / 900 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_and_weight_meet_where_runc_and_crun_say() {
        for (shares, weight) in [(2, 1), (1024, 100), (262_144, 10_000)] {
            assert_eq!(weight_of_shares(shares), weight);
            assert_eq!(shares_of_weight(weight), shares);
        }
        assert_eq!(weight_of_shares(2000), 170, "the case of runc's issue 4896");
    }

    #[test]
    fn every_weight_comes_back() {
        for weight in 1..=10_000 {
            assert_eq!(weight_of_shares(shares_of_weight(weight)), weight);
        }
    }

    #[test]
    fn a_larger_weight_is_never_fewer_shares() {
        assert!((1..10_000).all(|weight| shares_of_weight(weight) < shares_of_weight(weight + 1)));
        assert!((1..10_000).all(|weight| blkio_of_weight(weight) <= blkio_of_weight(weight + 1)));
    }

    #[test]
    fn blkio_weights_cover_their_range() {
        assert_eq!((blkio_of_weight(1), blkio_of_weight(10_000)), (10, 1000));
        assert_eq!([1, 100, 10_000].map(bfq_of_weight), [1, 100, 1000]);
        assert!((10..=1000).all(|blkio| blkio_of_weight(weight_of_blkio(blkio)).abs_diff(blkio) <= 1));
        assert!((1..=1000).all(|bfq| bfq_of_weight(weight_of_bfq(bfq)) == bfq));
    }
}
