/** `send-frames.ts TIMES HEX…`: sends the frames out of eth0, as they are, so many times. */
import { readIndexes } from '../../../host-agent/net/bpf/attachment.ts';
import { sendFrames } from '../../../host-agent/net/raw-frames.ts';

const [times, ...frames] = process.argv.slice(2);
const { eth0 } = await readIndexes(['eth0'], undefined);
const round = frames.map((hex) => Buffer.from(hex, 'hex'));
sendFrames(eth0, Array.from({ length: Number(times) }, () => round).flat());
