SELECT toUnixTimestamp64Nano(max(since))
FROM tael.tael_counted_since

