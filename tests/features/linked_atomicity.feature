Feature: Linked atomicity
  One call to a provider reserves from several limits at once: a request, its tokens, a slot, and tokens of the tenant's
  daily budget. The call gets all of them or none. A denial leaves no trace on any limit.

  Background:
    Given the limits:
      | limit              | kind        | capacity | held for |
      | gpt-4o:rpm         | rolling     | 60       | 60 s     |
      | gpt-4o:tpm         | rolling     | 60000    | 60 s     |
      | gpt-4o:concurrency | concurrency | 10       | 300 s    |
      | acme:daily_tokens  | rolling     | 1000000  | 86400 s  |

  Scenario: A granted call reserves from each of its limits
    When call 1 reserves:
      | limit              | amount |
      | gpt-4o:rpm         | 1      |
      | gpt-4o:tpm         | 1800   |
      | gpt-4o:concurrency | 1      |
      | acme:daily_tokens  | 1800   |
    Then call 1 is granted
    And the limits show:
      | limit              | available | reserved | debt |
      | gpt-4o:rpm         | 59        | 1        | 0    |
      | gpt-4o:tpm         | 58200     | 1800     | 0    |
      | gpt-4o:concurrency | 9         | 1        | 0    |
      | acme:daily_tokens  | 998200    | 1800     | 0    |

  Scenario Outline: One full limit denies the whole call: <full>
    Given call 1 holds <capacity> of <full>
    When call 2 reserves:
      | limit              | amount |
      | gpt-4o:rpm         | 1      |
      | gpt-4o:tpm         | 1800   |
      | gpt-4o:concurrency | 1      |
      | acme:daily_tokens  | 1800   |
    Then call 2 is denied: <full> has no room
    And the limits show:
      | limit              | reserved |
      | gpt-4o:rpm         | <rpm>    |
      | gpt-4o:tpm         | <tpm>    |
      | gpt-4o:concurrency | <slots>  |
      | acme:daily_tokens  | <daily>  |

    Examples:
      | full               | capacity | rpm | tpm   | slots | daily   |
      | gpt-4o:rpm         | 60       | 60  | 0     | 0     | 0       |
      | gpt-4o:tpm         | 60000    | 0   | 60000 | 0     | 0       |
      | gpt-4o:concurrency | 10       | 0   | 0     | 10    | 0       |
      | acme:daily_tokens  | 1000000  | 0   | 0     | 0     | 1000000 |

  Scenario Outline: One impossible requirement denies the whole call: <amount> of <limit>
    When call 1 reserves 1 of gpt-4o:rpm, 1 of gpt-4o:concurrency and <amount> of <limit>
    Then call 1 is denied: <why>
    And the limits show:
      | limit              | available | reserved |
      | gpt-4o:rpm         | 60        | 0        |
      | gpt-4o:tpm         | 60000     | 0        |
      | gpt-4o:concurrency | 10        | 0        |

    Examples:
      | limit      | amount | why                                           |
      | gpt-4o:tpm | 60001  | the amount exceeds the capacity of gpt-4o:tpm |
      | gpt-5:tpm  | 1      | there is no limit gpt-5:tpm                   |

  Scenario: Each of many concurrent calls at two replicas reserves all or nothing
    Given a second replica
    When 40 calls reserve 1 of gpt-4o:rpm, 1000 of gpt-4o:tpm and 1 of gpt-4o:concurrency at once
    Then 10 of them are granted
    And the others are denied: gpt-4o:concurrency has no room
    And the limits show:
      | limit              | available | reserved |
      | gpt-4o:rpm         | 50        | 10       |
      | gpt-4o:tpm         | 50000     | 10000    |
      | gpt-4o:concurrency | 0         | 10       |
