/**
 * The links, addresses and routes of one VM as batches for `ip -batch -`. Pure.
 *
 *   VM's namespace ar-<fleet>-<vmId>.<tag>           host's namespace
 *   tap0 169.254.1.1/32, route <guest>/32
 *   up0  169.254.2.2/32, default via 169.254.2.1  ══ arv<hash> 169.254.2.1/32, route <guest>/32
 *
 * The transit addresses are the same for every VM: they mean something on their own link only. So a
 * guest's address is the one thing that must be unique. Who owns a link is said in its alias,
 * `<namespace> <guest address> [<gateway's underlay address>]`: that is all that a restarted agent
 * needs to know. The tag is the host's own: while a VM moves between two simulated hosts, the machine
 * has its network twice.
 */
import { createHash } from 'node:crypto';
import { GUEST_MAC } from '../protocol/guest-contract.ts';
import { qemuUser } from '../vm/qemu-user.ts';
import { GUEST_GATEWAY, TAP_MAC } from './guest-policy.ts';
import { VM_LINK_PREFIX } from './host-guard.ts';
import { LINK_MAC, UP_MAC } from './vm-link-plan6.ts';

const HOST_TRANSIT = '169.254.2.1';
export const VM_TRANSIT = '169.254.2.2';
export const TAP_NAME = 'tap0';
/** Outlasts a blackout: what arrives for a frozen guest waits in the tap. */
const TAP_QUEUE_PACKETS = 10_000;
/** Outer headers of the overlay. */
const ENCAPSULATION_BYTES = 50;

/** Which VM's, on which host of the fleet. */
export interface VmPlace {
  readonly fleet: string;
  readonly vmId: string;
  readonly tag: string;
}

export interface VmLink extends VmPlace {
  readonly guestAddress: string;
  readonly mtu: number;
  /** Underlay address of the VM's gateway; undefined: the host masquerades it. */
  readonly gateway?: string | undefined;
}

export function guestMtu(underlayMtu: number): number {
  return Math.max(1280, underlayMtu - ENCAPSULATION_BYTES);
}

/** The VM's name on this host, where others of the fleet may be on the same machine. */
export function placeName({ vmId, tag }: Pick<VmPlace, 'vmId' | 'tag'>): string {
  return `${vmId}.${tag}`;
}

export function netnsName(place: VmPlace): string {
  return `ar-${place.fleet}-${placeName(place)}`;
}

/** 15 characters at most: the kernel's limit. */
export function hostLinkName(place: VmPlace): string {
  const hash = createHash('sha256').update(netnsName(place)).digest('hex');
  return `${VM_LINK_PREFIX}${hash.slice(0, 12)}`;
}

/** Run in the host's namespace. */
export function planHostSide(vm: VmLink): string {
  const { guestAddress, mtu } = vm;
  const netns = netnsName(vm);
  const link = hostLinkName(vm);
  return lines([
    `netns add ${netns}`,
    `link add ${link} address ${LINK_MAC} mtu ${mtu} type veth peer name up0 address ${UP_MAC} mtu ${mtu} netns ${netns}`,
    `link set ${link} alias "${aliasOf(vm)}" addrgenmode none up`,
    `addr add ${HOST_TRANSIT}/32 dev ${link}`,
    `route replace ${guestAddress}/32 via ${VM_TRANSIT} dev ${link} onlink`,
  ]);
}

/** Run in the host's namespace: what a later agent is to know of the VM. */
export function planAlias(vm: VmLink): string {
  return lines([`link set ${hostLinkName(vm)} alias "${aliasOf(vm)}"`]);
}

function aliasOf(vm: VmLink): string {
  const { guestAddress, gateway } = vm;
  return [netnsName(vm), guestAddress, ...(gateway === undefined ? [] : [gateway])].join(' ');
}

/** Run in the VM's namespace. Nobody is at the tap's other end before the guard stands. */
export function planVmSide({ vmId, guestAddress, mtu }: VmLink): string {
  const user = qemuUser(vmId);
  const owner = `user ${user} group ${user}`;
  return lines([
    'link set up0 addrgenmode none up',
    `addr add ${VM_TRANSIT}/32 dev up0`,
    `route add default via ${HOST_TRANSIT} dev up0 onlink`,
    `tuntap add dev ${TAP_NAME} mode tap ${owner}`,
    `link set ${TAP_NAME} address ${TAP_MAC} mtu ${mtu} txqueuelen ${TAP_QUEUE_PACKETS} addrgenmode none`,
    `addr add ${GUEST_GATEWAY}/32 dev ${TAP_NAME}`,
    `link set ${TAP_NAME} up`,
    `route add ${guestAddress}/32 dev ${TAP_NAME}`,
    // A frozen guest answers no ARP, and what waits for an answer is refused in the end.
    `neigh replace ${guestAddress} lladdr ${GUEST_MAC} dev ${TAP_NAME} nud permanent`,
  ]);
}

/** Run in the host's namespace. The link goes first, so that a held namespace is cut off at once. */
export function planRemoval(place: VmPlace): string {
  return lines([`link del ${hostLinkName(place)}`, `netns del ${netnsName(place)}`]);
}

/** The VM and addresses that a link's alias names; undefined for a link of anyone else. */
export function parseLinkAlias(
  host: Pick<VmPlace, 'fleet' | 'tag'>,
  alias: string,
): Pick<VmLink, 'vmId' | 'guestAddress' | 'gateway'> | undefined {
  const [netns = '', guestAddress = '', gateway] = alias.split(' ');
  const [prefix, suffix] = [`ar-${host.fleet}-`, `.${host.tag}`];
  if (!netns.startsWith(prefix) || !netns.endsWith(suffix) || guestAddress === '') return undefined;
  const vmId = netns.slice(prefix.length, -suffix.length);
  return { vmId, guestAddress, ...(gateway === undefined ? {} : { gateway }) };
}

function lines(commands: readonly string[]): string {
  return `${commands.join('\n')}\n`;
}
