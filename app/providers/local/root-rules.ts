/**
 * The few changes in the machine's own network namespace, all in one nft table `ar-<fleet>`. Pure.
 *
 *   - From the fleet's bridge one can reach the agents' endpoint and, where the fleet has one, its
 *     simulated outside (198.51.100.n), and nothing else of this machine.
 *   - With an uplink the fleet's hosts are masqueraded to the Internet; without, nothing is forwarded.
 *   - Fleets never reach each other, and nothing from outside reaches a fleet.
 */
import { bridgeName } from './local-names.ts';

export interface RootRules {
  readonly fleet: string;
  readonly subnet: string;
  readonly bridgeAddress: string;
  readonly agentPort: number;
  readonly outsideAddress: string | undefined;
  readonly uplink: boolean;
}

/** As `nft -f` reads it; replaces what was there, atomically. */
export function planRootRules(rules: RootRules): string {
  const bridge = bridgeName(rules.fleet);
  const table = `table inet ${bridge}`;
  const outside =
    rules.outsideAddress === undefined ? '' : `    ip daddr ${rules.outsideAddress} accept\n`;
  return `${table}
delete ${table}
${table} {
  chain input {
    type filter hook input priority -5; policy accept;
    iifname != "${bridge}" return
    ct state established,related accept
    ip daddr ${rules.bridgeAddress} tcp dport ${rules.agentPort} accept
${outside}    drop
  }
  chain forward {
    type filter hook forward priority -5; policy accept;
    iifname "${bridge}" oifname "${bridge}" accept
    oifname "${bridge}" ct state != { established, related } drop
${rules.uplink ? `    iifname "${bridge}" oifname "ar-*" drop` : `    iifname "${bridge}" drop`}
  }
  chain source-nat {
    type nat hook postrouting priority 100; policy accept;
    ip saddr ${rules.subnet} oifname != "${bridge}" masquerade
  }
}
`;
}
