Feature: Overage to debt
  A call may use more than it reserved. The difference is the overage. The complete reserves what fits of the overage.
  The rest becomes debt, or with the policy "deny" it is only counted. Debt never blocks capacity.

  Background:
    Given the limits:
      | limit             | kind    | capacity | held for |
      | acme:daily_tokens | rolling | 1000     | 60 s     |

  Scenario Outline: <reserved> are reserved, <used> are used, the policy is <policy>
    Given the overage policy of acme:daily_tokens is <policy>
    And call 1 holds <reserved> of acme:daily_tokens
    When call 1 completes with <used> of acme:daily_tokens
    Then completing call 1 <outcome>
    And the limits show:
      | limit             | available | reserved | debt   |
      | acme:daily_tokens | <free>    | <held>   | <debt> |

    Examples: The overage fits
      | policy | reserved | used | outcome           | free | held | debt |
      | debt   | 600      | 601  | settles the lease | 399  | 601  | 0    |
      | debt   | 600      | 1000 | settles the lease | 0    | 1000 | 0    |
      | deny   | 600      | 1000 | settles the lease | 0    | 1000 | 0    |

    Examples: A part of the overage fits
      | policy | reserved | used | outcome                                                          | free | held | debt |
      | debt   | 600      | 1001 | settles the lease, and 1 of acme:daily_tokens become debt        | 0    | 1000 | 1    |
      | debt   | 1000     | 1001 | settles the lease, and 1 of acme:daily_tokens become debt        | 0    | 1000 | 1    |
      | deny   | 600      | 1001 | settles the lease, and 1 of acme:daily_tokens are only counted   | 0    | 1000 | 0    |

  Scenario: Debt blocks no call, adds up, and outlives the window
    Given the limits:
      | limit      | kind    | capacity | held for |
      | gpt-4o:tpm | rolling | 100      | 1 s      |
    And call 1 holds 60 of gpt-4o:tpm
    When call 1 completes with 1060 of gpt-4o:tpm
    Then completing call 1 settles the lease, and 960 of gpt-4o:tpm become debt
    When 2 s pass
    And call 2 reserves 100 of gpt-4o:tpm
    Then call 2 is granted
    When call 2 completes with 150 of gpt-4o:tpm
    Then completing call 2 settles the lease, and 50 of gpt-4o:tpm become debt
    When 1 s passes
    Then the limits show:
      | limit      | available | reserved | debt |
      | gpt-4o:tpm | 100       | 0        | 1010 |

  Scenario: A repeated complete records its debt once
    Given a second replica
    And call 1 holds 600 of acme:daily_tokens
    When call 1 completes with 1100 of acme:daily_tokens
    Then completing call 1 settles the lease, and 100 of acme:daily_tokens become debt
    When call 1 completes with 1100 of acme:daily_tokens
    Then completing call 1 changes nothing
    When at the second replica, call 1 completes with 1100 of acme:daily_tokens
    Then completing call 1 changes nothing
    And the limits show:
      | limit             | available | reserved | debt |
      | acme:daily_tokens | 0         | 1000     | 100  |

  Scenario: A part of the overage becomes debt at one limit, and the other limits are settled as usual
    Given the limits:
      | limit              | kind        | capacity | held for |
      | gpt-4o:concurrency | concurrency | 1        | 60 s     |
      | gpt-4o:tpm         | rolling     | 5000     | 60 s     |
    And call 1 holds 1 of gpt-4o:concurrency, 900 of gpt-4o:tpm and 900 of acme:daily_tokens
    When call 1 completes with 1200 of gpt-4o:tpm and 1200 of acme:daily_tokens
    Then completing call 1 settles the lease, and 200 of acme:daily_tokens become debt
    And the limits show:
      | limit              | available | reserved | debt |
      | gpt-4o:concurrency | 1         | 0        | 0    |
      | gpt-4o:tpm         | 3800      | 1200     | 0    |
      | acme:daily_tokens  | 0         | 1000     | 200  |
