-- What a rejected row is called: made of what tells it apart, so that the same line has the same id whenever it is rejected again.
ALTER TABLE rejected {on_cluster} ADD COLUMN IF NOT EXISTS
    id String ALIAS lower(leftPad(hex(sipHash64(stage, topic, partition, offset, line, place)), 16, '0'));
